namespace KeyVa.Cluster.Driver;

/// <summary>
/// Which peers gave a sign of life when, and which are owed one. Any frame is a sign; where a silent group has nothing to send, a frame without items is. So
/// the groups that two nodes share need one sign between them, and not a heartbeat each (docs/replication.md, Silence). Owned by the driver's loop.
/// </summary>
/// <param name="timeout">Milliseconds after which a peer without a sign counts as gone: the election timeout.</param>
internal sealed class NodeLiveness(long timeout)
{
    /// <summary>So many signs are due within the timeout: those that are lost on the way must not look like a node that is gone.</summary>
    private const int SignsInTimeout = 4;

    private readonly Dictionary<long, Peer> _peers = [];

    /// <summary>Milliseconds between signs.</summary>
    private long Interval => Math.Max(1, timeout / SignsInTimeout);

    /// <summary>A frame has come from a peer.</summary>
    public void Heard(long peer, long now) => Find(peer, now).HeardAt = now;

    /// <summary>A frame has left to a peer.</summary>
    public void Told(long peer, long now) => Find(peer, now).ToldAt = now;

    /// <summary>When a peer gave its last sign; one that was not watched so far begins with <paramref name="now"/>.</summary>
    public long HeardAt(long peer, long now) => Find(peer, now).HeardAt;

    /// <summary>Whether a peer counts as gone.</summary>
    public bool IsLost(long peer, long now) => now - HeardAt(peer, now) >= timeout;

    /// <summary>Whether a peer is owed a sign now.</summary>
    public bool IsDue(long peer, long now) => now - Find(peer, now).ToldAt >= Interval;

    /// <summary>When something about a peer that is watched is to be looked at again: a sign is due, or it counts as gone.</summary>
    public long NextDeadline(long peer, long now)
    {
        Peer one = Find(peer, now);
        return Math.Min(one.ToldAt + Interval, one.HeardAt + timeout);
    }

    private Peer Find(long peer, long now)
    {
        if (!_peers.TryGetValue(peer, out Peer? found))
        {
            _peers[peer] = found = new Peer { HeardAt = now, ToldAt = now - Interval };
        }

        return found;
    }

    private sealed class Peer
    {
        public long HeardAt { get; set; }

        public long ToldAt { get; set; }
    }
}
