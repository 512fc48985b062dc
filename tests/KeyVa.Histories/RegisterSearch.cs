namespace KeyVa.Histories;

/// <summary>How a check ended.</summary>
public enum Verdict : byte
{
    /// <summary>The history is what the model allows.</summary>
    Holds,

    /// <summary>It is not.</summary>
    Violated,

    /// <summary>The search grew beyond its bound before it knew.</summary>
    Undecided,
}

/// <summary>
/// Looks for an order of the operations on one register that respects real time and explains every answer. After
/// Wing and Gong, "Testing and Verifying Concurrent Objects" (1993), with Lowe's memoization, "Testing for
/// Linearizability" (2017): a configuration (which operations are in the order so far, what the register holds) that led nowhere is
/// not tried again. Three things keep the search small:
/// <list type="number">
/// <item>An operation that may come next, whose answer fits and says that it changes nothing (a read, a condition that did
/// not hold), is taken at once and for good: moving it to the front of any solution gives a solution. A write of what the register holds
/// already is not of this kind; it may be needed later.</item>
/// <item>Operations with unknown outcome need not be placed at all. They are tried only where nothing known goes on, and only if
/// they make something possible that may come next and was not possible before, by themselves or by a chain of such operations whose
/// conditions expect each what the one before it has left: in any solution, one that does not can be
/// moved behind its successor, or left out, and the rest still fits.</item>
/// <item>A configuration is kept as 128 bits: the exclusive-or of one random number per operation, and one for the value.
/// Two that differ share them with a probability below 2^-80 for the largest search that fits in the bound.</item>
/// </list>
/// Not thread-safe; one search per instance.
/// </summary>
internal sealed class RegisterSearch
{
    /// <summary>Stands for the end of the list of events, and for "none".</summary>
    private const int None = -1;

    // Immutable.
    private readonly RegisterOperation[] _known;
    private readonly RegisterOperation[] _unknown;
    private readonly int _maxConfigurations;

    // The events (an invocation 2i and an answer 2i+1 for each known operation i) not yet in the order, by time, as a list
    // in two arrays; index 2n is its head.
    private readonly int[] _next;
    private readonly int[] _previous;

    private readonly bool[] _unknownPlaced;

    // The number of the last look ahead that came by an unknown operation.
    private readonly int[] _seenInLook;
    private int _look;

    private readonly HashSet<UInt128> _seen = [];
    private readonly Stack<Step> _order = new();
    private int? _state;
    private UInt128 _hash;
    private int _placed;

    public RegisterSearch(IEnumerable<RegisterOperation> operations, int? initial, int maxConfigurations)
    {
        RegisterOperation[] all = [.. operations.Where(static one => one.Outcome != Outcome.Fail)];
        _known = [.. all.Where(static one => one.Outcome == Outcome.Ok)];
        _unknown = [.. all.Where(static one => one.Outcome == Outcome.Unknown && one.Action != RegisterAction.Read).OrderBy(static one => one.Invoked)];
        _maxConfigurations = maxConfigurations;
        _state = initial;
        _unknownPlaced = new bool[_unknown.Length];
        _seenInLook = new int[_unknown.Length];
        int head = 2 * _known.Length;
        _next = new int[head + 1];
        _previous = new int[head + 1];
        Link(head);
    }

    /// <summary>Configurations tried.</summary>
    public int Configurations => _seen.Count;

    /// <summary>The length of the longest order that the search found.</summary>
    public int Deepest { get; private set; }

    /// <summary>That order, if <see cref="Run"/> was told its length, and what the register then holds.</summary>
    public List<RegisterOperation> Longest { get; } = [];

    public int? LongestState { get; private set; }

    /// <summary>The known operations that could have come next after <see cref="Longest"/>, none of which fits.</summary>
    public List<RegisterOperation> Stuck { get; } = [];

    private int Head => 2 * _known.Length;

    /// <summary>What an operation does to a register: false if its answer does not fit.</summary>
    public static bool TryApply(in RegisterOperation one, int? state, out int? after)
    {
        after = state;
        bool isKnown = one.Outcome == Outcome.Ok;
        switch (one.Action)
        {
            case RegisterAction.Read:
                return !isKnown || one.Value == state;
            case RegisterAction.Write:
                after = one.Value;
                return true;
            case RegisterAction.CompareAndSet:
                bool holds = state == one.Expected;
                after = holds ? one.Value : state;
                return !isKnown || one.Held is not { } held || held == holds;
            default:
                after = null;
                return !isKnown || one.Held is not { } existed || existed == state.HasValue;
        }
    }

    /// <summary>
    /// Searches. The search is deterministic: a second one, told how deep the first went, keeps the first order of
    /// that length; to keep each that is longer than those before it would take the square of the time.
    /// </summary>
    public Verdict Run(int keepAt = int.MaxValue)
    {
        while (true)
        {
            if (_next[Head] == None)
            {
                return Verdict.Holds;
            }

            // At a new configuration: first what can be taken for good, then the first choice, known or unknown.
            if (TakeForGood() || Advance(_next[Head], 0))
            {
                continue;
            }

            if (_seen.Count >= _maxConfigurations)
            {
                return Verdict.Undecided;
            }

            Deepest = Math.Max(Deepest, _placed);
            if (_placed >= keepAt && Stuck.Count == 0)
            {
                KeepLongest();
            }

            if (!Backtrack())
            {
                return _seen.Count >= _maxConfigurations ? Verdict.Undecided : Verdict.Violated;
            }
        }
    }

    private bool TakeForGood()
    {
        for (int e = _next[Head]; (e & 1) == 0; e = _next[e])
        {
            if (ChangesNothing(_known[e >> 1]) && TryApply(_known[e >> 1], _state, out int? after))
            {
                Place(e >> 1, isUnknown: false, after, forGood: true);
                return true;
            }
        }

        return false;
    }

    private static bool ChangesNothing(in RegisterOperation one) =>
        one.Action == RegisterAction.Read || (one.Action != RegisterAction.Write && one.Held == false);

    /// <summary>Takes the first choice from an event of the list on, then from an unknown operation on, that leads to a new configuration.</summary>
    private bool Advance(int e, int unknown)
    {
        // An answer in the list ends the choices: what begins behind it must come behind its operation.
        for (; (e & 1) == 0; e = _next[e])
        {
            if (TryApply(_known[e >> 1], _state, out int? after) && IsNew(Bits(e >> 1), after))
            {
                Place(e >> 1, isUnknown: false, after, forGood: false);
                return true;
            }
        }

        long limit = _known[e >> 1].Completed;
        for (; unknown < _unknown.Length && _unknown[unknown].Invoked <= limit; unknown++)
        {
            if (!_unknownPlaced[unknown] && TryApply(_unknown[unknown], _state, out int? after) && after != _state
                && LeadsOn(unknown, after, limit) && IsNew(Bits(_known.Length + unknown), after))
            {
                Place(unknown, isUnknown: true, after, forGood: false);
                return true;
            }
        }

        return false;
    }

    private bool MakesPossible(int? after)
    {
        for (int e = _next[Head]; (e & 1) == 0; e = _next[e])
        {
            // What was not told whether its condition held fits either way, but does another thing.
            ref readonly RegisterOperation one = ref _known[e >> 1];
            if (TryApply(one, after, out _)
                && (!TryApply(one, _state, out _) || (one.Action == RegisterAction.CompareAndSet && one.Held is null && one.Expected == after)))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Whether what an unknown operation leaves makes something known possible, or does so through others whose conditions it meets, one behind the other.</summary>
    private bool LeadsOn(int unknown, int? after, long limit)
    {
        _look++;
        _seenInLook[unknown] = _look;
        return LeadsOn(after, limit);
    }

    private bool LeadsOn(int? value, long limit)
    {
        if (MakesPossible(value))
        {
            return true;
        }

        for (int i = 0; i < _unknown.Length && _unknown[i].Invoked <= limit; i++)
        {
            // Where one leads to does not depend on the way to it, so each is looked at once.
            ref readonly RegisterOperation one = ref _unknown[i];
            if (_seenInLook[i] != _look && !_unknownPlaced[i] && one.Action == RegisterAction.CompareAndSet && one.Expected == value)
            {
                _seenInLook[i] = _look;
                if (LeadsOn(one.Value, limit))
                {
                    return true;
                }
            }
        }

        return false;
    }

    /// <summary>Undoes steps until one of them has another choice, and takes it; false if none has.</summary>
    private bool Backtrack()
    {
        while (_order.TryPop(out Step step))
        {
            _state = step.Before;
            _placed--;
            if (step.IsUnknown)
            {
                _unknownPlaced[step.Index] = false;
                _hash ^= Bits(_known.Length + step.Index);
            }
            else
            {
                Unlift(step.Index);
                _hash ^= Bits(step.Index);
            }

            if (_seen.Count >= _maxConfigurations)
            {
                return false;
            }

            if (!step.ForGood && (step.IsUnknown ? Advance(FirstAnswer(), step.Index + 1) : Advance(_next[2 * step.Index], 0)))
            {
                return true;
            }
        }

        return false;
    }

    private int FirstAnswer()
    {
        int e = _next[Head];
        while ((e & 1) == 0)
        {
            e = _next[e];
        }

        return e;
    }

    private void Place(int index, bool isUnknown, int? after, bool forGood)
    {
        _order.Push(new Step(index, isUnknown, forGood, _state));
        _state = after;
        _placed++;
        if (isUnknown)
        {
            _unknownPlaced[index] = true;
            _hash ^= Bits(_known.Length + index);
        }
        else
        {
            Lift(2 * index);
            Lift((2 * index) + 1);
            _hash ^= Bits(index);
        }
    }

    private bool IsNew(UInt128 bits, int? after)
    {
        ulong value = after is { } number ? (uint)number : 1UL << 40;
        return _seen.Add(_hash ^ bits ^ new UInt128(Mix(value ^ 0x5bd1e995_00000000), Mix(value ^ 0xc2b2ae35_00000000)));
    }

    private void KeepLongest()
    {
        Longest.Clear();
        Longest.AddRange(_order.Reverse().Select(step => step.IsUnknown ? _unknown[step.Index] : _known[step.Index]));
        LongestState = _state;
        Stuck.Clear();
        for (int e = _next[Head]; (e & 1) == 0; e = _next[e])
        {
            Stuck.Add(_known[e >> 1]);
        }
    }

    private void Link(int head)
    {
        // At equal times invocations come before answers: operations that touch count as concurrent.
        int[] events = new int[head];
        for (int i = 0; i < head; i++)
        {
            events[i] = i;
        }

        Array.Sort(events, (a, b) =>
        {
            int order = TimeOf(a).CompareTo(TimeOf(b));
            return order != 0 ? order : (a & 1) != (b & 1) ? (a & 1) - (b & 1) : a - b;
        });
        int last = head;
        foreach (int e in events)
        {
            _next[last] = e;
            _previous[e] = last;
            last = e;
        }

        _next[last] = None;
        _previous[head] = last;
    }

    private long TimeOf(int e) => (e & 1) == 0 ? _known[e >> 1].Invoked : _known[e >> 1].Completed;

    private void Lift(int e)
    {
        _next[_previous[e]] = _next[e];
        _previous[_next[e] == None ? Head : _next[e]] = _previous[e];
    }

    private void Unlift(int index)
    {
        // In the opposite order: the neighbours of each are again what they were when it was lifted.
        for (int e = (2 * index) + 1; e >= 2 * index; e--)
        {
            _next[_previous[e]] = e;
            _previous[_next[e] == None ? Head : _next[e]] = e;
        }
    }

    private static UInt128 Bits(int operation) => new(Mix((2 * (ulong)operation) + 1), Mix((2 * (ulong)operation) + 2));

    // SplitMix64's finalizer: every bit of the result depends on every bit of the number.
    private static ulong Mix(ulong z)
    {
        z += 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }

    private readonly record struct Step(int Index, bool IsUnknown, bool ForGood, int? Before);
}
