namespace KeyVa.Io;

/// <summary>
/// Which operations of a <see cref="MemoryFileSystem"/> fail, and how often each was asked for. Guarded by the file
/// system's lock, but for <see cref="Before"/>, which is called outside of it.
/// </summary>
internal sealed class FaultPlan
{
    private readonly long[] _counts = new long[Enum.GetValues<FileOperation>().Length];
    private readonly List<Rule> _rules = [];
    private readonly object _gate;

    public FaultPlan(object gate) => _gate = gate;

    /// <summary>Called before every operation, outside all locks, on the thread that asks for it: tests hold threads here.</summary>
    public Action<FileOperation, string>? Before { get; set; }

    /// <summary>Asked, under the lock, for each operation that no rule fails: an errno, or 0 to let it pass.</summary>
    public Func<FileOperation, string, int>? Decide { get; set; }

    /// <summary>
    /// Fails the next matching operations: after <paramref name="skip"/> that pass, <paramref name="times"/> that do not.
    /// A failing write leaves a part of its bytes; a failing sync leaves what it was to sync lost for later ones too.
    /// </summary>
    public void FailNext(FileOperation operation, int errno = Posix.InputOutput, int skip = 0, int times = 1, string? path = null)
    {
        lock (_gate)
        {
            _rules.Add(new Rule { Operation = operation, Errno = errno, Skip = skip, Times = times, PathPart = path });
        }
    }

    /// <summary>Forgets all rules.</summary>
    public void Clear()
    {
        lock (_gate)
        {
            _rules.Clear();
            Decide = null;
        }
    }

    /// <summary>How often the operation was asked for, failures included.</summary>
    public long Count(FileOperation operation)
    {
        lock (_gate)
        {
            return _counts[(int)operation];
        }
    }

    /// <summary>Counts an operation; its errno, or 0. The caller holds the lock.</summary>
    internal int Next(FileOperation operation, string path)
    {
        _counts[(int)operation]++;
        for (int i = 0; i < _rules.Count; i++)
        {
            Rule rule = _rules[i];
            if (rule.Operation != operation || (rule.PathPart is { } part && !path.Contains(part, StringComparison.Ordinal)))
            {
                continue;
            }

            if (rule.Skip > 0)
            {
                rule.Skip--;
                continue;
            }

            if (--rule.Times == 0)
            {
                _rules.RemoveAt(i);
            }

            return rule.Errno;
        }

        return Decide?.Invoke(operation, path) ?? 0;
    }

    private sealed class Rule
    {
        public required FileOperation Operation { get; init; }

        public required int Errno { get; init; }

        public required string? PathPart { get; init; }

        public required int Skip { get; set; }

        public required int Times { get; set; }
    }
}
