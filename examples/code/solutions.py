"""A right and fast solution of each task, written for this example: what tests are made from.

They never go to a model. Each is checked against the examples of its task's description.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any

PRIME = 10**9 + 7
Grid = list[list[int]]


def rearranging_fruits(basket1: list[int], basket2: list[int]) -> int:
    """Half of the surplus of each cost is swapped, directly or by way of the cheapest fruit."""
    surplus = Counter(basket1)
    surplus.subtract(Counter(basket2))
    if any(n % 2 for n in surplus.values()):
        return -1
    moved = sorted(cost for cost, n in surplus.items() for _ in range(abs(n) // 2))
    cheapest = min(surplus)
    return sum(min(cost, 2 * cheapest) for cost in moved[: len(moved) // 2])


def minimum_cost_to_make_array_equal(nums: list[int], cost: list[int]) -> int:
    """The target is the weighted median."""
    pairs, weight, target = sorted(zip(nums, cost, strict=True)), 0, 0
    for value, one in pairs:
        weight += one
        if 2 * weight >= sum(cost):
            target = value
            break
    return sum(abs(value - target) * one for value, one in pairs)


def number_of_ways_to_earn_points(target: int, types: Grid) -> int:
    """A bounded knapsack that counts."""
    ways = [1, *[0] * target]
    for count, marks in types:
        ways = [
            sum(ways[at - n * marks] for n in range(min(count, at // marks) + 1)) % PRIME
            for at in range(target + 1)
        ]
    return ways[target]


def count_anagrams(s: str) -> int:
    """Multinomial coefficients of the words."""
    most = max(map(len, s.split()))
    factorial = [1]
    for n in range(1, most + 1):
        factorial.append(factorial[-1] * n % PRIME)
    found = 1
    for word in s.split():
        found = found * factorial[len(word)] % PRIME
        for n in Counter(word).values():
            found = found * pow(factorial[n], -1, PRIME) % PRIME
    return found


def check_if_point_is_reachable(target_x: int, target_y: int) -> bool:
    """Where the greatest common divisor is a power of two."""
    divisor = math.gcd(target_x, target_y)
    return divisor & (divisor - 1) == 0


def minimum_time_to_complete_all_tasks(tasks: Grid) -> int:
    """By end; each runs as late as it can."""
    busy = [False] * 2002
    for start, end, duration in sorted(tasks, key=lambda task: task[1]):
        missing = duration - sum(busy[start : end + 1])
        at = end
        while missing > 0:
            if not busy[at]:
                busy[at], missing = True, missing - 1
            at -= 1
    return sum(busy)


def maximum_number_of_non_overlapping_palindrome_substrings(s: str, k: int) -> int:
    """The palindrome that ends first is taken; lengths k and k + 1 are enough."""
    count, start = 0, 0
    for end in range(1, len(s) + 1):
        for begin in (end - k, end - k - 1):
            if begin >= start and s[begin:end] == s[begin:end][::-1]:
                count, start = count + 1, end
                break
    return count


def cycle_length_queries_in_a_tree(n: int, queries: Grid) -> list[int]:
    """Up from the larger of both until they meet."""
    found = []
    for pair in queries:
        a, b = pair
        length = 1
        while a != b:
            a, b = max(a, b) // 2, min(a, b)
            length += 1
        found.append(length)
    return found


def put_marbles_in_bags(weights: list[int], k: int) -> int:
    """Each cut between bags costs the two marbles beside it."""
    cuts = sorted(map(sum, pairwise(weights)))
    return sum(cuts[len(cuts) - k + 1 :]) - sum(cuts[: k - 1])


def count_number_of_possible_root_nodes(edges: Grid, guesses: Grid, k: int) -> int:
    """Moving the root over an edge changes the guesses on that edge alone."""
    near: dict[int, list[int]] = defaultdict(list)
    for a, b in edges:
        near[a].append(b)
        near[b].append(a)
    guessed = {(a, b) for a, b in guesses}
    order, parent = [0], {0: -1}
    for node in order:
        for child in near[node]:
            if child not in parent:
                parent[child] = node
                order.append(child)
    right = {0: sum((parent[node], node) in guessed for node in order[1:])}
    for node in order[1:]:
        up = parent[node]
        right[node] = right[up] - ((up, node) in guessed) + ((node, up) in guessed)
    return sum(count >= k for count in right.values())


def paths_in_matrix_whose_sum_is_divisible_by_k(grid: Grid, k: int) -> int:
    """Paths by the remainder of their sum, row by row."""
    above = [[0] * k for _ in grid[0]]
    for y, row in enumerate(grid):
        for x, value in enumerate(row):
            sources = [above[x]] if y else []
            if x:
                sources.append(above[x - 1])
            ways = [0] * k
            if not sources:
                ways[value % k] = 1
            for source in sources:
                for rest, count in enumerate(source):
                    ways[(rest + value) % k] += count
            above[x] = [count % PRIME for count in ways]
    return above[-1][0]


def minimum_time_to_visit_a_cell_in_a_grid(grid: Grid) -> int:
    """Dijkstra; waiting is going back and forth, so parity counts."""
    if grid[0][1] > 1 and grid[1][0] > 1:
        return -1
    height, width = len(grid), len(grid[0])
    heap, seen = [(0, 0, 0)], {(0, 0)}
    while heap:
        time, y, x = heapq.heappop(heap)
        if (y, x) == (height - 1, width - 1):
            return time
        for v, u in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
            if 0 <= v < height and 0 <= u < width and (v, u) not in seen:
                seen.add((v, u))
                wait = max(0, grid[v][u] - time - 1)
                heapq.heappush(heap, (time + 1 + wait + wait % 2, v, u))
    return -1


def number_of_beautiful_partitions(s: str, k: int, min_length: int) -> int:
    """Prefixes by the number of parts, with running sums."""
    prime = set("2357")
    size = len(s)
    ends = [i == size or (s[i] in prime and s[i - 1] not in prime) for i in range(1, size + 1)]
    if s[0] not in prime or s[-1] in prime:
        return 0
    ways = [1, *[0] * size]
    for _ in range(k):
        after, total = [0] * (size + 1), 0
        for i in range(min_length, size + 1):
            total = (total + ways[i - min_length]) % PRIME
            if ends[i - 1]:
                after[i] = total
        ways = after
    return ways[size]


def time_to_cross_a_bridge(n: int, k: int, time: Grid) -> int:
    """The bridge as a simulation with four queues."""
    slow = [(-(one[0] + one[2]), -i) for i, one in enumerate(time)]
    left = list(slow)
    right: list[tuple[int, int]] = []
    heapq.heapify(left)
    busy_left: list[tuple[int, int]] = []
    busy_right: list[tuple[int, int]] = []
    now, to_fetch, moved = 0, n, 0
    while moved < n:
        while busy_left and busy_left[0][0] <= now:
            i = heapq.heappop(busy_left)[1]
            heapq.heappush(left, (slow[i][0], -i))
        while busy_right and busy_right[0][0] <= now:
            i = heapq.heappop(busy_right)[1]
            heapq.heappush(right, (slow[i][0], -i))
        if right:
            i = -heapq.heappop(right)[1]
            now, moved = now + time[i][2], moved + 1
            heapq.heappush(busy_left, (now + time[i][3], i))
        elif left and to_fetch:
            i = -heapq.heappop(left)[1]
            now, to_fetch = now + time[i][0], to_fetch - 1
            heapq.heappush(busy_right, (now + time[i][1], i))
        else:
            coming = [q[0][0] for q in (busy_right, busy_left if to_fetch else []) if q]
            now = min(coming)
    return now


def longest_increasing_subsequence_ii(nums: list[int], k: int) -> int:
    """The best length by last value, in a segment tree of maxima."""
    size = 1 << (max(nums) + 1).bit_length()
    best = [0] * (2 * size)
    for value in nums:
        low, high, longest = size + max(0, value - k), size + value, 0
        while low < high:
            if low & 1:
                longest, low = max(longest, best[low]), low + 1
            if high & 1:
                high -= 1
                longest = max(longest, best[high])
            low, high = low // 2, high // 2
        at = size + value
        while at and best[at] < longest + 1:
            best[at] = longest + 1
            at //= 2
    return best[1]


def maximize_the_minimum_powered_city(stations: list[int], r: int, k: int) -> int:
    """By bisection; new stations stand as far right as they still help."""
    size, power = len(stations), [0]
    for one in stations:
        power.append(power[-1] + one)
    base = [power[min(size, i + r + 1)] - power[max(0, i - r)] for i in range(size)]

    def possible(wanted: int) -> bool:
        left, extra, until = k, 0, [0] * (size + 1)
        for i in range(size):
            extra -= until[i]
            missing = wanted - base[i] - extra
            if missing > left:
                return False
            if missing > 0:
                left, extra = left - missing, extra + missing
                until[min(size, i + 2 * r + 1)] += missing
        return True

    return bisect_left(range(min(base) + k + 2), True, key=lambda w: not possible(w)) - 1


def add_edges_to_make_degrees_of_all_nodes_even(n: int, edges: Grid) -> bool:
    """None, two or four nodes are odd; the pairs are tried."""
    near: dict[int, set[int]] = defaultdict(set)
    for a, b in edges:
        near[a].add(b)
        near[b].add(a)
    odd = [node for node in near if len(near[node]) % 2]

    def free(a: int, b: int) -> bool:
        return b not in near[a]

    if len(odd) == 2:
        a, b = odd
        return free(a, b) or any(free(a, c) and free(b, c) for c in range(1, n + 1))
    if len(odd) == 4:
        a, b, c, d = odd
        pairs = (((a, b), (c, d)), ((a, c), (b, d)), ((a, d), (b, c)))
        return any(free(*one) and free(*two) for one, two in pairs)
    return not odd


def minimum_total_distance_traveled(robot: list[int], factory: Grid) -> int:
    """Both sorted; factories take neighbouring robots."""
    robots = sorted(robot)
    best: list[float] = [0, *[math.inf] * len(robots)]
    for position, limit in sorted(factory):
        after = list(best)
        for end in range(1, len(robots) + 1):
            walked = 0
            for taken in range(1, min(limit, end) + 1):
                walked += abs(robots[end - taken] - position)
                after[end] = min(after[end], best[end - taken] + walked)
        best = after
    return int(best[-1])


def count_subarrays_with_median_k(nums: list[int], k: int) -> int:
    """Balances of larger and smaller numbers to the left of k meet those to the right."""
    place, balance = nums.index(k), 0
    left: Counter[int] = Counter()
    for value in reversed(nums[: place + 1]):
        balance += (value > k) - (value < k)
        left[balance] += 1
    found, balance = 0, 0
    for value in nums[place:]:
        balance += (value > k) - (value < k)
        found += left[-balance] + left[1 - balance]
    return found


def maximum_number_of_points_from_grid_queries(grid: Grid, queries: list[int]) -> list[int]:
    """The grid is flooded from the corner, lowest first; each query is a level."""
    height, width = len(grid), len(grid[0])
    heap, seen, levels, level = [(grid[0][0], 0, 0)], {(0, 0)}, [], 0
    while heap:
        value, y, x = heapq.heappop(heap)
        level = max(level, value)
        levels.append(level)
        for v, u in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
            if 0 <= v < height and 0 <= u < width and (v, u) not in seen:
                seen.add((v, u))
                heapq.heappush(heap, (grid[v][u], v, u))
    return [bisect_right(levels, query - 1) for query in queries]


def solution(task_id: str) -> Callable[..., Any]:
    """The solution of a task."""
    found: Callable[..., Any] = globals()[task_id.replace("-", "_")]
    return found
