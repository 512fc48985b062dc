using KeyVa.Engines;

namespace KeyVa.Log;

/// <summary>A <see cref="ScrubPass"/> over the journal's segments, up to what was committed when each was reached.</summary>
internal sealed class JournalScrub(SegmentList segments) : ScrubPass
{
    private readonly GroupScanner _scanner = new();
    private readonly List<JournalSegment> _pinned = [];
    private long _from;
    private long _end;

    public override bool Step(long bytes, Action<CorruptionException> found, out long read)
    {
        read = 0;
        while (read < bytes)
        {
            if (_pinned.Count == 0 && !TryPinNext())
            {
                return false;
            }

            if (_scanner.TryNext())
            {
                read += _scanner.Group.Length;
                continue;
            }

            if (_scanner.Offset < _end)
            {
                found(new CorruptionException(_pinned[0].Path, _scanner.Position, "a group that was intact when written is not any more"));
            }

            _from = _end;
            segments.Unpin(_pinned);
        }

        return true;
    }

    public override void Dispose()
    {
        segments.Unpin(_pinned);
        _scanner.Dispose();
    }

    private bool TryPinNext()
    {
        long committed = segments.Pin(_from, _pinned);
        segments.Unpin(_pinned.GetRange(1, _pinned.Count - 1));
        _pinned.RemoveRange(1, _pinned.Count - 1);
        JournalSegment segment = _pinned[0];
        _end = Math.Min(segment.End, committed);
        if (_end <= _from)
        {
            segments.Unpin(_pinned);
            return false;
        }

        _scanner.Begin(segment.File, segment.Header, segment.FileOffset(_end));
        return true;
    }
}
