"""Where tensors that cross an instance boundary can be seen after a step, for the comparison with the reference."""

from __future__ import annotations

from collections.abc import Sequence

from hwmodel.programs.isa import Trace
from scheduling.choice import Choice, in_whole_rows
from scheduling.emission.buffers import DramBuffers
from scheduling.evaluator import Evaluator
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.residence import Residence
from scheduling.timeline.simulation import Times
from scheduling.timeline.system_copies import SystemCopies


class Traces:
    """The traces of a simulated arrangement, step by step."""

    def __init__(
        self,
        evaluator: Evaluator,
        choices: Sequence[Choice],
        plan: Arrangement,
        times: Times,
        copies: SystemCopies,
        buffers: DramBuffers,
        residence: Residence,
    ) -> None:
        self._evaluator = evaluator
        self._network = evaluator.network
        self._choices = choices
        self._plan = plan
        self._address = buffers.tensor_address
        self._residence = residence
        # When an instance has ended in the program order.
        order = times.order.tolist() or range(len(plan.subgraph))
        self._ended = {number: position for position, number in enumerate(order)}
        self._moved: dict[int, list[int]] = {}
        for chunk, (job, last) in enumerate(zip(copies.job.tolist(), copies.last.tolist(), strict=True)):
            move = int(copies.move[job])
            if last and move >= 0 and evaluator.table.producer[plan.moves.tensor[move]] >= 0:
                self._moved.setdefault(int(times.copy_of[chunk]), []).append(move)

    def of_step(self, step: int) -> list[Trace]:
        """What a step's instance wrote, and where moves that stand with it took what layers make."""
        return self._written(step) + [self._of_move(step, move) for move in self._moved.get(step, [])]

    def _image_bytes(self, index: int, rows: int) -> int:
        tensor = self._network.tensors[index]
        return rows * tensor.columns * tensor.channels * self._evaluator.machine.element_bytes

    def _written(self, step: int) -> list[Trace]:
        """The slices of tensors that leave the sub-graph, as the step's instance wrote them; of a tensor that is not
        cut into runs of whole rows, its slice of the batch when the last instance has written it."""
        plan, batch = self._plan, self._network.batch
        choice = self._choices[plan.subgraph[step]]
        batch_part, part = divmod(int(plan.instance[step]), choice.slices)
        images = self._images(batch_part, choice.split_batch)
        traces = []
        own = plan.instance_start[plan.subgraph[step]] + batch_part * choice.slices
        last = step == max(plan.place_of[own : own + choice.slices].tolist(), key=self._ended.__getitem__)
        by_rows = in_whole_rows(choice)
        for index in self._evaluator.templates.borders(choice.first, choice.stop)[1].tolist():
            tensor = self._network.tensors[index]
            in_llb = bool(plan.in_llb[index])
            dense = choice.split_batch == batch and by_rows  # a slice is one dense window in DRAM
            apart = plan.source_rows[index] > 1 if in_llb else dense and choice.split_rows > 1
            if not (apart or last):
                continue
            rows = (0, tensor.rows)
            if apart:
                rows = tensor.rows * part // choice.split_rows, tensor.rows * (part + 1) // choice.split_rows
            if in_llb:
                address = int(plan.slice_address[plan.slice_start[index] + plan.instance[step]])
            else:
                address = self._address[index] + images[0] * self._image_bytes(index, tensor.rows)
                address += self._image_bytes(index, rows[0])
            memory = "llb" if in_llb else "dram"
            traces.append(
                Trace(tensor.name, step, memory, address, images, rows, tensor.columns, tensor.channels)
            )
        return traces

    def _of_move(self, step: int, move: int) -> Trace:
        moves = self._plan.moves
        index, address = int(moves.tensor[move]), int(moves.address[move])
        tensor = self._network.tensors[index]
        images = self._images(int(moves.part[move]), self._residence.parts(index))
        memory = "llb" if address >= 0 else "dram"
        if address < 0:
            address = self._address[index] + images[0] * self._image_bytes(index, tensor.rows)
        return Trace(
            tensor.name, step, memory, address, images, (0, tensor.rows), tensor.columns, tensor.channels
        )

    def _images(self, part: int, parts: int) -> tuple[int, int]:
        batch = self._network.batch
        return batch * part // parts, batch * (part + 1) // parts
