"""Templates: instances of sub-graphs as they are lowered, each kind once, and which instance is of which kind.

`Templates` finds the template of every instance of a schedule. What it asks is in files of its own: how compiled code
sees a choice (`frames`), whether its axes and ways can be (`checks`), which of its slices look alike (`alike`), what
crosses the border of a run of layers (`borders`), and where lowered rows are kept (`store`).
"""

from scheduling.templates.frames import WHOLE, Parts
from scheduling.templates.store import Template, TemplateStore
from scheduling.templates.templates import Templates

__all__ = ["WHOLE", "Parts", "Template", "TemplateStore", "Templates"]
