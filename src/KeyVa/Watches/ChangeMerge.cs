namespace KeyVa.Watches;

/// <summary>
/// Goes through the changes of several partitions by rising version, up to a version that all of them have closed. The
/// changes of one version come one behind the other, whichever partitions they are of. One thread at a time.
/// </summary>
internal sealed class ChangeMerge(ChangeLog[] logs)
{
    private readonly ChangeCursor[] _cursors = Array.ConvertAll(logs, static log => new ChangeCursor(log));
    private readonly long[] _next = new long[logs.Length];
    private long _cap;
    private int _at = -1;
    private long _others;

    public ReadOnlySpan<ChangeCursor> Cursors => _cursors;

    /// <summary>Where the change that was found stands.</summary>
    public ChangeCursor At => _cursors[_at];

    /// <summary>Stands before the first change above a version.</summary>
    public void Open(long after)
    {
        foreach (ChangeCursor cursor in _cursors)
        {
            cursor.Open(after);
        }

        _at = -1;
    }

    /// <summary>As <see cref="Open"/>, but in each log behind what it has forgotten.</summary>
    public void OpenKept(long after)
    {
        foreach (ChangeCursor cursor in _cursors)
        {
            cursor.Open(Math.Max(after, cursor.Log.Floor));
        }

        _at = -1;
    }

    /// <summary>Whether changes of some log that come next are gone.</summary>
    public bool HasLost { get; private set; }

    /// <summary>From here on changes up to this version are found.</summary>
    public void Begin(long cap)
    {
        _cap = cap;
        HasLost = false;
        for (int i = 0; i < _cursors.Length; i++)
        {
            _next[i] = _cursors[i].Peek(cap);
            HasLost |= _cursors[i].IsLost;
        }

        Choose();
    }

    /// <summary>The version of the next change, which <see cref="At"/> holds; the largest number if there is none up to the cap.</summary>
    public long Next => _at < 0 ? long.MaxValue : _next[_at];

    /// <summary>Goes behind the change that was found.</summary>
    public void Advance()
    {
        ChangeCursor cursor = _cursors[_at];
        cursor.Advance();
        long next = cursor.Peek(_cap);
        _next[_at] = next;
        HasLost |= cursor.IsLost;
        if (next > _others || next == long.MaxValue)
        {
            Choose();
        }
    }

    public void Close()
    {
        foreach (ChangeCursor cursor in _cursors)
        {
            cursor.Close();
        }

        _at = -1;
    }

    private void Choose()
    {
        _at = -1;
        _others = long.MaxValue;
        long least = long.MaxValue;
        for (int i = 0; i < _next.Length; i++)
        {
            if (_next[i] < least)
            {
                _others = least;
                least = _next[i];
                _at = i;
            }
            else if (_next[i] < _others)
            {
                _others = _next[i];
            }
        }
    }
}
