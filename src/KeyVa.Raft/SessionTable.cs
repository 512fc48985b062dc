namespace KeyVa.Raft;

/// <summary>What a state machine does with a command of a client's session.</summary>
public enum SessionVerdict : byte
{
    /// <summary>Seen for the first time: apply it, then <see cref="SessionTable.Record"/> the result.</summary>
    Apply = 0,

    /// <summary>Applied before: answer with the result that was kept.</summary>
    Repeat,

    /// <summary>Older than what the session remembers: whether it was applied is not known any more. It is refused.</summary>
    Forgotten,

    /// <summary>There is no such session, or no more: it is refused, since it may have been applied while there was one.</summary>
    NoSession,
}

/// <summary>
/// Which commands of which clients were applied, so that a retried one is applied once (§8; dissertation, §6.3). It is part of a
/// state machine's state: asked and changed only while entries are applied, in log order, so that it is the same on every
/// replica, and it goes into snapshots (<see cref="SessionEncoding"/>). Bounded: a new session takes the place of the one that was
/// used longest ago, and each keeps the results of a few commands. Not thread-safe.
/// </summary>
public sealed class SessionTable
{
    /// <summary>Bytes of one result, at most.</summary>
    public const int MaxResultBytes = 64 << 10;

    private readonly int _maxSessions;
    private readonly int _maxResults;
    private readonly Dictionary<long, LinkedListNode<Session>> _sessions = [];

    // Used longest ago first.
    private readonly LinkedList<Session> _order = new();

    /// <summary>A table of so many sessions, each with so many results. Both are the same on every replica.</summary>
    public SessionTable(int maxSessions = 4096, int maxResults = 16)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(maxSessions, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(maxResults, 1);
        _maxSessions = maxSessions;
        _maxResults = maxResults;
    }

    /// <summary>Sessions that are open.</summary>
    public int Count => _sessions.Count;

    internal IEnumerable<Session> Sessions => _order;

    /// <summary>
    /// Opens a session, by an entry of the log; <paramref name="client"/> is a number that is never given twice, such as that entry's
    /// index. Opening it again changes nothing.
    /// </summary>
    public void Open(long client)
    {
        if (Use(client) is null)
        {
            Add(new Session(client));
        }
    }

    /// <summary>
    /// Asks for a command. <paramref name="sequence"/> counts a client's commands from 1; results up to <paramref name="answered"/> have
    /// reached the client and are forgotten.
    /// </summary>
    public SessionVerdict Look(long client, long sequence, long answered, out ReadOnlyMemory<byte> result)
    {
        result = default;
        if (Use(client) is not { } session)
        {
            return SessionVerdict.NoSession;
        }

        session.Forget(Math.Min(answered, sequence - 1));
        return session.Results.TryGetValue(sequence, out result) ? SessionVerdict.Repeat
            : sequence <= session.Floor ? SessionVerdict.Forgotten : SessionVerdict.Apply;
    }

    /// <summary>Keeps the result of a command that was applied. The bytes belong to the table from here on.</summary>
    public void Record(long client, long sequence, ReadOnlyMemory<byte> result)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(result.Length, MaxResultBytes);
        if (_sessions.TryGetValue(client, out LinkedListNode<Session>? node))
        {
            Session session = node.Value;
            session.Results[sequence] = result;
            while (session.Results.Count > _maxResults)
            {
                session.Forget(session.Results.Keys[0]);
            }
        }
    }

    /// <summary>Adds a session as the one used last.</summary>
    internal void Add(Session session)
    {
        if (_sessions.Count >= _maxSessions)
        {
            _sessions.Remove(_order.First!.Value.Client);
            _order.RemoveFirst();
        }

        _sessions.Add(session.Client, _order.AddLast(session));
    }

    private Session? Use(long client)
    {
        if (!_sessions.TryGetValue(client, out LinkedListNode<Session>? node))
        {
            return null;
        }

        _order.Remove(node);
        _order.AddLast(node);
        return node.Value;
    }
}
