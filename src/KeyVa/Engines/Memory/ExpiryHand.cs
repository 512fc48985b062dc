namespace KeyVa.Engines.Memory;

/// <summary>
/// Finds expired keys and takes them out of the index: a hand that goes round the segments in hash order, a bounded
/// number of steps per group. No timer or list per key, no full scan: a segment knows the earliest expiry in it, so one
/// step passes a segment in which nothing is due; and the hand sleeps until the earliest expiry of all.
/// </summary>
/// <remarks>
/// <para>Thread-safety: the writer's alone.</para>
/// <para>A queue per expiry time was rejected: keys that are renewed again and again would leave stale entries behind
/// without bound. The price is that a turn takes as many steps as there are buckets with something due.</para>
/// <para>Only nodes with nothing behind them are taken (<see cref="Reclaimer"/>, invariant 5); the others are due again at the
/// next turn, after the reclaimer has cut off what they shadow.</para>
/// </remarks>
internal sealed unsafe class ExpiryHand
{
    private readonly HashIndex _index;
    private readonly Reclaimer _reclaimer;

    private ulong _position;
    private long _wakeAt = long.MaxValue;
    private long _earliestOfTurn = long.MaxValue;

    // The segment that is being gone through, by address and depth: it may be replaced between two steps.
    private Segment* _segment;
    private int _depth;
    private int _bucket;
    private long _earliestOfSegment;

    public ExpiryHand(HashIndex index, Reclaimer reclaimer)
    {
        _index = index;
        _reclaimer = reclaimer;
    }

    /// <summary>Keys taken out by the last call of <see cref="Step"/>, and the bytes of their values.</summary>
    public long Keys { get; private set; }

    public long ValueBytes { get; private set; }

    /// <summary>When something may be due; MaxValue: nothing expires.</summary>
    public long WakeAt => _wakeAt;

    /// <summary>Whether something may be due at this time.</summary>
    public bool IsDue(long stamp) => _wakeAt <= stamp;

    /// <summary>A key with an expiry was linked.</summary>
    public void Note(long expiresAt)
    {
        _wakeAt = Math.Min(_wakeAt, expiresAt);
        _earliestOfTurn = Math.Min(_earliestOfTurn, expiresAt);
    }

    /// <summary>Goes up to <paramref name="steps"/> buckets or passed segments further.</summary>
    public void Step(Horizon horizon, int steps)
    {
        Keys = 0;
        ValueBytes = 0;
        for (; steps > 0 && IsDue(horizon.Stamp); steps--)
        {
            Segment* segment = _index.SegmentOf(_position);
            // A split replaces the segment; depth grows with every split, so an address used again has another depth.
            if (segment != _segment || segment->Depth != _depth)
            {
                _segment = segment;
                _depth = segment->Depth;
                _bucket = 0;
                if (segment->MinExpiry > horizon.Stamp)
                {
                    _earliestOfTurn = Math.Min(_earliestOfTurn, segment->MinExpiry);
                    Advance(segment);
                    continue;
                }

                // Puts lower it while the hand goes through the buckets.
                segment->MinExpiry = long.MaxValue;
                _earliestOfSegment = long.MaxValue;
            }

            Sweep(Segment.Line(segment, _bucket), horizon);
            if (++_bucket == Segment.Buckets)
            {
                segment->MinExpiry = Math.Min(segment->MinExpiry, _earliestOfSegment);
                _earliestOfTurn = Math.Min(_earliestOfTurn, segment->MinExpiry);
                Advance(segment);
            }
        }
    }

    private void Advance(Segment* segment)
    {
        _segment = null;
        _position += segment->Depth == 0 ? 0 : 1UL << (64 - segment->Depth);
        if (_position == 0)
        {
            _wakeAt = _earliestOfTurn;
            _earliestOfTurn = long.MaxValue;
        }
    }

    private void Sweep(ulong* line, Horizon horizon)
    {
        for (; line is not null; line = Segment.NextLine(line))
        {
            for (int i = 0; i < Segment.SlotsPerLine; i++)
            {
                Node* node = Segment.NodeAt(line + i);
                if (node is null || node->ExpiresAt == 0)
                {
                    continue;
                }

                if (node->ExpiresAt > horizon.Stamp || node->Version > horizon.Version || node->Older != 0)
                {
                    _earliestOfSegment = Math.Min(_earliestOfSegment, node->ExpiresAt);
                }
                else if (_index.TryUnlink(node))
                {
                    Keys++;
                    ValueBytes += node->ValueLength;
                    _reclaimer.Discard(node);
                }
            }
        }
    }
}
