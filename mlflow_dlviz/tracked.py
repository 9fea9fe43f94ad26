"""What is kept of one run while it is logged to: its spool, its ledger, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlflow_dlviz.ledger import Ledger
from mlflow_dlviz.store import names
from mlflow_dlviz.store.runs import RunRef
from mlflow_dlviz.store.spool import Spool


@dataclass
class RunLog:
    """What is kept of one run. training: whether a ``fit`` still logs to it; step: the last one logged; gone:
    whether its server knows it no more; held: whether nothing is to be sent for now.
    """

    spool: Spool
    ledger: Ledger = field(default_factory=Ledger)
    training: bool = True
    step: int = 0
    gone: bool = False
    held: bool = False
    ledger_path: str = names.LEDGER
    _dirty: bool = False
    _open: bool = False
    _not_before: float = 0.0

    @property
    def ref(self) -> RunRef:
        """The run as far as it is known by now."""
        plan = self.spool.plan
        return RunRef(plan.tracking_uri, plan.run_id, plan.spool_id)

    def touch(self) -> None:
        """There is something to send."""
        self._dirty = self._open = True

    def keep_ledger(self) -> None:
        """Lay the ledger beside what it is about."""
        if self.spool.trouble:
            why = f"{self.spool.trouble}; what is logged waits in memory until the server has it"
            self.ledger.left_out("the spool on disk", why)
        self.spool.keep_ledger(self.ledger.to_json(self.step))
