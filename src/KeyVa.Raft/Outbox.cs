namespace KeyVa.Raft;

/// <summary>
/// Messages that are ready, and those that wait for the disk, each marked with the number of the work it leans on. Bounded:
/// beyond <see cref="RaftOptions.MaxHeldMessages"/> the oldest is dropped, as if the network had lost it. Owned by its group.
/// </summary>
internal sealed class Outbox(int maxHeld)
{
    private readonly List<(long After, Message Message)> _held = [];

    public void Add(long after, in Message message)
    {
        if (_held.Count >= maxHeld)
        {
            _held.RemoveAt(0);
        }

        _held.Add((after, message));
    }

    /// <summary>Gives out what leans on nothing beyond a number, in its order.</summary>
    public void Release(long persisted, List<Message> to)
    {
        int kept = 0;
        for (int i = 0; i < _held.Count; i++)
        {
            if (_held[i].After <= persisted)
            {
                to.Add(_held[i].Message);
            }
            else
            {
                _held[kept++] = _held[i];
            }
        }

        _held.RemoveRange(kept, _held.Count - kept);
    }
}
