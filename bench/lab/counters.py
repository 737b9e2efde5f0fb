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


def by_cable(cluster, pairs):
    """{(cable, sender): payload bytes} of the flows whose path is the only one, and whether that
    is all of them. A flow with several paths is counted at both NICs, where it has no choice."""
    bytes_of, complete = collections.Counter(), True
    for (source, target), count in pairs.items():
        path = path_of(cluster, source, target)
        if path is None:
            complete = False
            path = [(cluster.cables_at[source][0].name, source),
                    (cluster.cables_at[target][0].name, cluster.switch_of[target])]
        for step in path:
            bytes_of[step] += count
    return bytes_of, complete


def check(cluster, order, traffic, wire, answer):
    """Compares one call: `traffic` is accl-perf's, `wire` {"cable sender": bytes}, `answer` what
    accl-topo explain --cables says of the same order and size."""
    seen = by_pair(order.launch, traffic)
    nics = answer["nics"]
    planned = {(nics[pair["from"]], nics[pair["to"]]): pair["bytes"] for pair in answer["pairs"]
               if pair["bytes"]}
    cables, complete = by_cable(cluster, seen)
    at_nics = {cable.name for nic in cluster.nics for cable in cluster.cables_at[nic]}
    expected = {(cable["cable"], cable["from"]): cable["bytes"] for cable in answer["cables"]
                if cable["bytes"]}
    if not complete:
        cables = {key: value for key, value in cables.items() if key[0] in at_nics}
        expected = {key: value for key, value in expected.items() if key[0] in at_nics}
    ratios = [wire[" ".join(key)] / value for key, value in cables.items() if value]
    return {"pairs": len(seen), "pairs_equal": seen == planned, "cables": len(cables),
            "cables_equal": dict(cables) == expected, "has_choice": not complete,
            "wire_least": min(ratios), "wire_most": max(ratios)}
