namespace KeyVa.Engines.Lsm;

/// <summary>
/// Decides what a scan asks the system to read ahead: after a few blocks of a table that were missed one behind the other,
/// windows that double, before the scan gets there. Forward the system does some of it by itself, as long as nobody else
/// reads the file; backward it does not. One thread; part of its source.
/// </summary>
/// <remarks>Bounded: less than two windows of <see cref="MaxWindow"/> are on their way per source, in the system's page cache.</remarks>
internal struct ReadAhead
{
    public const int FirstWindow = 16 << 10;
    public const int MaxWindow = 512 << 10;

    /// <summary>Blocks missed in sequence before the first window: a short scan reads nothing for nothing.</summary>
    private const int MissesBefore = 2;

    private int _misses;
    private int _window;
    private int _ordinal;
    private int _lastBlock;

    // What was asked for: [_low, _high) of the present table.
    private long _low;
    private long _high;

    /// <summary>The scan goes somewhere else.</summary>
    public void Restart()
    {
        _misses = 0;
        _window = 0;
        _low = long.MaxValue;
        _high = 0;
    }

    /// <summary>The scan goes on in another table, from one of its ends if it goes on at all.</summary>
    public void EnterTable(int blocks)
    {
        _lastBlock = blocks - 1;
        _low = long.MaxValue;
        _high = 0;
        _ordinal = -2;
    }

    /// <summary>A block was not cached and is about to be read.</summary>
    public void Missed(TableReader reader, int ordinal, long offset, int length)
    {
        bool entering = _ordinal == -2 && _misses > 0;
        bool forward = entering ? ordinal == 0 : ordinal == _ordinal + 1;
        bool backward = !forward && (entering ? ordinal == _lastBlock : ordinal == _ordinal - 1);
        _ordinal = ordinal;
        if (!forward && !backward)
        {
            Restart();
            _misses = 1;
            return;
        }

        if (++_misses <= MissesBefore)
        {
            return;
        }

        _window = Math.Clamp(_window, FirstWindow, MaxWindow);
        if (forward)
        {
            Forward(reader, offset + length);
        }
        else
        {
            Backward(reader, offset);
        }
    }

    private void Forward(TableReader reader, long at)
    {
        long from = Math.Max(at, _high);
        if (from - at > _window / 2)
        {
            return;
        }

        _high = Math.Min(from + _window, reader.DataEnd);
        Ask(reader, from, _high);
    }

    private void Backward(TableReader reader, long at)
    {
        long to = Math.Min(at, _low);
        if (at - to > _window / 2)
        {
            return;
        }

        _low = Math.Max(0, to - _window);
        Ask(reader, _low, to);
    }

    private void Ask(TableReader reader, long from, long to)
    {
        if (to > from)
        {
            reader.Prefetch(from, to - from);
            _window = Math.Min(_window * 2, MaxWindow);
        }
    }
}
