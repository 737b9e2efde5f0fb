"""counters.py - what a run moved, held against what the plan says: payload by pair of NICs as the
ranks counted it, payload by cable, and the wire bytes that the kernel counted there."""

import collections


def path_of(cluster, source, target):
    """The cables (with their senders) of the only shortest path; None where there are several."""
    here, there = cluster.switch_of[source], cluster.switch_of[target]
    path = [(cluster.cables_at[source][0].name, source)]
    while here != there:
        ways = cluster.next_hops(here, there)
        if len(ways) != 1:
            return None
        cable, neighbour = ways[0]
        path.append((cable.name, here))
        here = neighbour
    return path + [(cluster.cables_at[target][0].name, there)]


def by_pair(launch, traffic):
    """{(NIC, NIC): payload bytes} of what ranks, started at `launch`, counted."""
    return {(launch[entry["from"]], launch[entry["to"]]): entry["bytes"] for entry in traffic
            if entry["bytes"]}


def reachable(cluster, source, target):
    """{(cable, sender)} of every shortest path between two NICs' switches."""
    steps, here = set(), {cluster.switch_of[source]}
    while here:
        ways = [(cable, switch, there) for switch in here
                for cable, there in cluster.next_hops(switch, cluster.switch_of[target])]
        steps |= {(cable.name, switch) for cable, switch, _there in ways}
        here = {there for _cable, _switch, there in ways} - {cluster.switch_of[target]}
    return steps


def by_cable(cluster, pairs):
    """({(cable, sender): payload bytes}, the cables that a flow may or may not have taken). A flow
    with several paths is counted at both NICs, where it has no choice."""
    bytes_of, unsure = collections.Counter(), set()
    for (source, target), count in pairs.items():
        path = path_of(cluster, source, target)
        if path is None:
            unsure |= reachable(cluster, source, target)
            path = [(cluster.cables_at[source][0].name, source),
                    (cluster.cables_at[target][0].name, cluster.switch_of[target])]
        for step in path:
            bytes_of[step] += count
    return bytes_of, unsure


def check(cluster, order, traffic, wire, answer):
    """Compares one call: `traffic` is accl-perf's, `wire` {"cable sender": bytes}, `answer` what
    accl-topo explain --cables says of the same order and size. Cables that a flow took only if
    the hash said so are left out."""
    seen = by_pair(order.launch, traffic)
    nics = answer["nics"]
    planned = {(nics[pair["from"]], nics[pair["to"]]): pair["bytes"] for pair in answer["pairs"]
               if pair["bytes"]}
    cables, unsure = by_cable(cluster, seen)
    cables = {key: value for key, value in cables.items() if key not in unsure}
    expected = {(cable["cable"], cable["from"]): cable["bytes"] for cable in answer["cables"]
                if cable["bytes"] and (cable["cable"], cable["from"]) not in unsure}
    ratios = [wire[" ".join(key)] / value for key, value in cables.items()]
    return {"pairs": len(seen), "pairs_equal": seen == planned, "cables": len(cables),
            "cables_equal": cables == expected, "has_choice": bool(unsure),
            "wire_least": min(ratios), "wire_most": max(ratios)}


MOST_WIRE = 1.08  # Of the payload, from 1 MiB up.


def complaint(name, result):
    """What is wrong with a check's result, in words; empty if nothing is."""
    if not result["pairs_equal"]:
        return f"{name}: the payload of some pair of ranks differs from the plan"
    if not result["cables_equal"]:
        return f"{name}: the payload of some cable differs from the plan"
    if not 1 <= result["wire_least"] <= result["wire_most"] <= MOST_WIRE:
        return (f"{name}: wire bytes are {result['wire_least']:.3f} to {result['wire_most']:.3f} "
                f"of the payload, not 1 to {MOST_WIRE}")
    return ""
