"""What generate.py is made of.

plan         how many levels, pods, children and nodes a shape has: arithmetic only
inputs       inputs under names of their own: the options for them, and the pod that lists them
options      the command's options, and the parameters and resources that they mean
documents    a plan as Hera's Workflow, and WorkflowTemplate where it has children
children     the template of the children, and the step that creates one
manifest     documents as YAML, and the comment at the top
dry_run      what --dry-run prints
submission   sending documents to an Argo server

Each file imports only from those above it.
"""
