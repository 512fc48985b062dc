using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>What one session is subscribed to. Its session's thread alone.</summary>
internal sealed class Subscriptions(RespSession session)
{
    /// <summary>Channels and patterns of one session.</summary>
    private const int MaxSubscriptions = 1 << 16;

    /// <summary>Their bytes together.</summary>
    private const long MaxBytes = 16 << 20;

    /// <summary>The longest channel or pattern: enough for the notifications of the longest key, and a match costs the product of both lengths at worst.</summary>
    public const int MaxNameBytes = Limits.MaxKeyBytes + 256;

    private long _bytes;

    private readonly HashSet<byte[]> _channels = new(BytesComparer.Instance);
    private readonly HashSet<byte[]> _patterns = new(BytesComparer.Instance);

    public int Channels => _channels.Count;

    public int Patterns => _patterns.Count;

    public int Count => _channels.Count + _patterns.Count;

    /// <summary>Whether the connection takes only commands about subscriptions: RESP2 has no other way to tell messages from replies.</summary>
    public bool Restrict(RespOutput output) => output.Version < 3 && Count > 0;

    public void Add(RespCommand command, bool isPattern)
    {
        HashSet<byte[]> all = isPattern ? _patterns : _channels;
        for (int i = 1; i < command.Count; i++)
        {
            if (command[i].Length > MaxNameBytes)
            {
                session.Output.Error($"ERR a channel or pattern has at most {MaxNameBytes} bytes");
                return;
            }

            if (Count == MaxSubscriptions || _bytes + command[i].Length > MaxBytes)
            {
                session.Output.Error($"ERR more than {MaxSubscriptions} subscriptions, or {MaxBytes} bytes of them");
                return;
            }

            byte[] channel = command[i].ToArray();
            if (all.Add(channel))
            {
                _bytes += channel.Length;
                session.Door.Hub.Subscribe(channel, session, isPattern);
            }

            Reply(isPattern ? "psubscribe"u8 : "subscribe"u8, channel);
        }
    }

    public void Remove(RespCommand command, bool isPattern)
    {
        HashSet<byte[]> all = isPattern ? _patterns : _channels;
        ReadOnlySpan<byte> kind = isPattern ? "punsubscribe"u8 : "unsubscribe"u8;
        if (command.Count == 1 && all.Count == 0)
        {
            session.Output.Push(3);
            session.Output.Bulk(kind);
            session.Output.Null();
            session.Output.Integer(Count);
            return;
        }

        byte[][] channels = command.Count == 1 ? [.. all] : [.. Enumerable.Range(1, command.Count - 1).Select(i => command[i].ToArray())];
        foreach (byte[] channel in channels)
        {
            if (all.Remove(channel))
            {
                _bytes -= channel.Length;
                session.Door.Hub.Unsubscribe(channel, session, isPattern);
                session.TakeMessages();
            }

            Reply(kind, channel);
        }
    }

    public void Clear()
    {
        foreach (byte[] channel in _channels)
        {
            session.Door.Hub.Unsubscribe(channel, session, isPattern: false);
        }

        foreach (byte[] pattern in _patterns)
        {
            session.Door.Hub.Unsubscribe(pattern, session, isPattern: true);
        }

        _channels.Clear();
        _patterns.Clear();
        _bytes = 0;
    }

    private void Reply(ReadOnlySpan<byte> kind, byte[] channel)
    {
        session.Output.Push(3);
        session.Output.Bulk(kind);
        session.Output.Bulk(channel);
        session.Output.Integer(Count);
    }
}
