namespace KeyVa.Cluster.Driver;

/// <summary>
/// Tells of a peer's frames which of them come for the first time, so that what is in them is done once. A process draws a life when it starts, and numbers its
/// frames; a frame of a former life may come late, between those of the next one, and must not make these look new again. Which life is the newer one nobody can
/// say, so each has numbers of its own. Owned by the driver's loop.
/// </summary>
/// <remarks>
/// A frame that others have overtaken is new as well, if not too many have (as in the window of RFC 4303, §3.4.3): what is in a frame that is passed over, its sender waits for
/// until its patience ends. Before the first frame that was heard of a life nothing is new: this process may have taken it in a former life of its own.
/// </remarks>
internal sealed class PeerLives
{
    /// <summary>Lives that are remembered: more starts than there are within the time that a frame may be on its way.</summary>
    private const int Most = 16;

    /// <summary>Numbers that are remembered, up to the newest.</summary>
    private const int Window = 64;

    // Bit i: the newest less i has come. The one that was heard last is the last.
    private readonly List<(ulong Life, ulong Newest, ulong Come)> _lives = new(Most);

    /// <summary>Whether a frame comes for the first time; <paramref name="beganAnew"/>: its life was not heard of yet.</summary>
    public bool Take(ulong life, ulong number, out bool beganAnew)
    {
        int at = _lives.Count - 1;
        while (at >= 0 && _lives[at].Life != life)
        {
            at--;
        }

        beganAnew = at < 0;
        if (beganAnew)
        {
            if (_lives.Count == Most)
            {
                _lives.RemoveAt(0);
            }

            _lives.Add((life, number, ulong.MaxValue));
            return true;
        }

        (_, ulong newest, ulong come) = _lives[at];
        if (number <= newest)
        {
            ulong behind = newest - number;
            ulong bit = behind < Window ? 1UL << (int)behind : 0;
            _lives[at] = (life, newest, come | bit);
            return (come & bit) != bit;
        }

        ulong ahead = number - newest;
        _lives.RemoveAt(at);
        _lives.Add((life, number, (ahead < Window ? come << (int)ahead : 0) | 1));
        return true;
    }
}
