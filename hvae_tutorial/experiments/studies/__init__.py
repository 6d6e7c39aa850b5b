"""How the models of the experiments are built, trained, measured and drawn: a module for each kind of model.

Each has the four functions of `execute.Study`.
"""
