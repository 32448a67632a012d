"""The frames of a network's choices: turned where they stream along columns, narrow where they cut channels.

Networks and tables of frames are made when they are first asked for and kept; of narrow ones, which a search over
slices of channels makes for every run of layers and every width, only the latest.
"""

from __future__ import annotations

from typing import NamedTuple

from graph.network import Network
from hwmodel.machines.machine import Machine
from scheduling.choice import COLUMNS, Choice
from scheduling.errors import IllegalSchedule
from scheduling.lowering.channel_slices import ChannelUnits, channel_units, narrow_network, narrow_table
from scheduling.lowering.frames import Frame, turned_choice, turned_network
from scheduling.lowering.tables import NetworkTable, network_table

MOST_NARROW = 256
"""Narrow networks that are kept. Each has tuples of all tensors and layers: 20 KB for one of 500 layers."""


class Parts(NamedTuple):
    """A slice of a slice of the batch, in the frame of a choice."""

    row: int
    column: int
    channel: int


WHOLE = Parts(0, 0, 0)


def subgraph_name(network: Network, choice: Choice) -> str:
    """How messages call the sub-graph of a choice."""
    return (
        f"sub-graph of layers {network.layers[choice.first].name} to {network.layers[choice.stop - 1].name}"
    )


class Frames:
    """The frames of choices of `network`, whose table for `machine` is `table`."""

    def __init__(self, network: Network, machine: Machine, table: NetworkTable) -> None:
        self.network = network
        self.table = table
        self._machine = machine
        self._turned: tuple[Network, NetworkTable] | None = None
        self._units: dict[tuple[int, int], ChannelUnits] = {}
        self._narrow: dict[tuple[int, int, int, int, bool], tuple[Network, NetworkTable]] = {}

    def of(self, choice: Choice, channel_part: int = 0) -> Frame:
        """A choice as it is lowered: of the turned network where it streams along columns, and of one as narrow as
        channel slice `channel_part` where it has several. Raises IllegalSchedule where channels cannot be cut."""
        turned = choice.axis == COLUMNS
        network, table = self._turned_network() if turned else (self.network, self.table)
        if choice.split_channels > 1:
            units = self.channel_units(choice)
            low, high = units.bounds(channel_part, choice.split_channels)
            if not units.by_place:
                low, high = 0, high - low
            key = (choice.first, choice.stop, low, high, turned)
            known = self._narrow.get(key)
            if known is None:
                # Searches find choices in two threads: the other one may take the same frame away.
                for oldest in list(self._narrow)[: max(0, len(self._narrow) + 1 - MOST_NARROW)]:
                    self._narrow.pop(oldest, None)
                narrow = narrow_network(self.network, units, low, high)
                narrow = turned_network(narrow) if turned else narrow
                known = self._narrow[key] = (narrow, narrow_table(table, narrow, units))
            network, table = known
            choice = choice._replace(split_channels=1)
        return Frame(network, table, turned_choice(choice), turned)

    def all_of(self, choice: Choice) -> list[Frame]:
        """The frames of all instances of a choice: several where slices of the channels do not look alike."""
        return [self.of(choice, part) for part in dict.fromkeys(self.alike_channels(choice))]

    def parts(self, choice: Choice, part: int) -> Parts:
        """The slice that an instance makes, counted within a slice of the batch."""
        channel, tile = divmod(part, choice.tiles)
        row, column = divmod(tile, choice.split_columns)
        return Parts(column, row, channel) if choice.axis == COLUMNS else Parts(row, column, channel)

    def channel_units(self, choice: Choice) -> ChannelUnits:
        """How the layers of a choice are cut over channels. Raises IllegalSchedule where they cannot be, or not into
        as many slices."""
        key = (choice.first, choice.stop)
        if key not in self._units:
            self._units[key] = channel_units(self.network, *key)
        units = self._units[key]
        if units.units < choice.split_channels:
            raise IllegalSchedule(
                f"{subgraph_name(self.network, choice)}: channels cannot be cut into {choice.split_channels} slices, "
                f"at most {units.units} because of layer {self.network.layers[units.limit].name}"
            )
        return units

    def alike_channels(self, choice: Choice) -> list[int]:
        """For the channel slices of a choice the first ones that look like them: that are as wide, where that is all
        that matters."""
        if choice.split_channels == 1:
            return [0]
        units = self.channel_units(choice)
        if units.by_place:
            return list(range(choice.split_channels))
        bounds = [units.bounds(part, choice.split_channels) for part in range(choice.split_channels)]
        widths = [high - low for low, high in bounds]
        return [widths.index(width) for width in widths]

    def _turned_network(self) -> tuple[Network, NetworkTable]:
        if self._turned is None:
            network = turned_network(self.network)
            self._turned = (network, network_table(network, self._machine, turned=True))
        return self._turned
