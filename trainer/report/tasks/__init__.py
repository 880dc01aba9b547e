"""What a report says of each kind of answers: one file a kind."""

from trainer.report.tasks.task import Task, task_of

__all__ = ["Task", "task_of"]
