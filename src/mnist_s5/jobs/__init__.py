"""A notebook as a job: its parameters, its run through papermill, and a check of the machine."""
