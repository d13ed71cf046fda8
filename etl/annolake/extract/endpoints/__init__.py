"""The endpoints of the service: paths and parameters, one module for each."""
