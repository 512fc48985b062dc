using KeyVa.Raft;

namespace KeyVa.Cluster.Driver;

/// <summary>
/// The groups of a node that are silent, and the peers on whose lives that rests: what becomes of a peer ends the silences that depend on it, and while there are any the peer
/// is told that this node lives. Owned by the driver's loop.
/// </summary>
internal sealed class SilentGroups(DriverOptions options)
{
    private readonly NodeLiveness _liveness = new(options.ElectionTimeout);
    private readonly HashSet<Replica> _silent = [];
    private readonly HashSet<long> _peers = [];

    /// <summary>A frame has come from a peer.</summary>
    public void Heard(long peer, long now) => _liveness.Heard(peer, now);

    /// <summary>A frame has left to a peer.</summary>
    public void Told(long peer, long now) => _liveness.Told(peer, now);

    /// <summary>A replica was driven: it may have fallen silent, or not be so any more.</summary>
    public void Follow(Replica replica)
    {
        if (replica.IsSilent ? !_silent.Add(replica) : !_silent.Remove(replica))
        {
            return;
        }

        _peers.Clear();
        foreach (Replica one in _silent)
        {
            AddPeersOf(one.Group);
        }
    }

    /// <summary>Something has become of a peer: what was silent and depends on it wakes, and is to be driven.</summary>
    public void Wake(long peer, long now, HashSet<Replica> busy)
    {
        foreach (Replica replica in _silent)
        {
            if (DependsOn(replica.Group, peer))
            {
                replica.Wake(now, _liveness.HeardAt(peer, now));
                busy.Add(replica);
            }
        }
    }

    /// <summary>The same for all peers that give no sign of life any more.</summary>
    public void WakeForLost(long now, HashSet<Replica> busy)
    {
        foreach (long peer in _peers)
        {
            if (_liveness.IsLost(peer, now) && !options.Has(DriverDefects.IgnoresLostNodes))
            {
                Wake(peer, now, busy);
            }
        }
    }

    /// <summary>Calls <paramref name="give"/> for each peer that is owed a sign of life; when there is something to look at again.</summary>
    public long GiveSigns(long now, Action<long> give)
    {
        long next = long.MaxValue;
        foreach (long peer in _peers)
        {
            if (_liveness.IsDue(peer, now))
            {
                give(peer);
            }

            next = Math.Min(next, _liveness.NextDeadline(peer, now));
        }

        return next;
    }

    /// <summary>Whether a group's silence relies on a peer: as its leader, or as one that this node leads.</summary>
    private static bool DependsOn(RaftGroup group, long peer) => group.Leader == peer || (group.Role == Role.Leader && group.Membership.Contains(peer));

    /// <summary>Adds those on whom a group's silence relies, and who rely on this node.</summary>
    private void AddPeersOf(RaftGroup group)
    {
        if (group.Role != Role.Leader)
        {
            _peers.Add(group.Leader);
            return;
        }

        foreach (long peer in group.Membership.All())
        {
            if (peer != options.Node)
            {
                _peers.Add(peer);
            }
        }
    }
}
