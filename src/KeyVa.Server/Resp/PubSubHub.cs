using System.Runtime.InteropServices;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>Who listens to which channel. Messages are told once and kept nowhere. Thread-safe.</summary>
internal sealed class PubSubHub
{
    private readonly Lock _lock = new();
    private readonly Dictionary<byte[], List<RespSession>> _channels = new(BytesComparer.Instance);
    private readonly Dictionary<byte[], List<RespSession>> _patterns = new(BytesComparer.Instance);

    public int Patterns
    {
        get
        {
            lock (_lock)
            {
                return _patterns.Count;
            }
        }
    }

    public void Subscribe(byte[] channel, RespSession session, bool isPattern)
    {
        lock (_lock)
        {
            (CollectionsMarshal.GetValueRefOrAddDefault(isPattern ? _patterns : _channels, channel, out _) ??= []).Add(session);
        }
    }

    public void Unsubscribe(byte[] channel, RespSession session, bool isPattern)
    {
        Dictionary<byte[], List<RespSession>> all = isPattern ? _patterns : _channels;
        lock (_lock)
        {
            if (all.TryGetValue(channel, out List<RespSession>? listeners) && listeners.Remove(session) && listeners.Count == 0)
            {
                all.Remove(channel);
            }
        }
    }

    /// <summary>Tells everyone who listens, and returns how many those are.</summary>
    public int Publish(ReadOnlySpan<byte> channel, ReadOnlySpan<byte> payload)
    {
        int told = 0;
        lock (_lock)
        {
            if (_channels.GetAlternateLookup<ReadOnlySpan<byte>>().TryGetValue(channel, out List<RespSession>? listeners))
            {
                told += Tell(listeners, default, channel, payload, isPattern: false);
            }

            foreach ((byte[] pattern, List<RespSession> matching) in _patterns)
            {
                if (RespPattern.Matches(pattern, channel))
                {
                    told += Tell(matching, pattern, channel, payload, isPattern: true);
                }
            }
        }

        return told;
    }

    /// <summary>Channels that somebody listens to.</summary>
    public byte[][] Channels(ReadOnlySpan<byte> pattern)
    {
        List<byte[]> found = [];
        lock (_lock)
        {
            foreach (byte[] channel in _channels.Keys)
            {
                if (pattern.IsEmpty || RespPattern.Matches(pattern, channel))
                {
                    found.Add(channel);
                }
            }
        }

        return [.. found];
    }

    public int Listeners(ReadOnlySpan<byte> channel)
    {
        lock (_lock)
        {
            return _channels.GetAlternateLookup<ReadOnlySpan<byte>>().TryGetValue(channel, out List<RespSession>? listeners) ? listeners.Count : 0;
        }
    }

    private static int Tell(List<RespSession> listeners, ReadOnlySpan<byte> pattern, ReadOnlySpan<byte> channel, ReadOnlySpan<byte> payload, bool isPattern)
    {
        // One message for all who speak the same version.
        byte[]? second = null;
        byte[]? third = null;
        foreach (RespSession session in listeners)
        {
            ref byte[]? message = ref session.Output.Version < 3 ? ref second : ref third;
            message ??= Encode(session.Output.Version, pattern, channel, payload, isPattern);
            session.Outbox.Add(message);
        }

        return listeners.Count;
    }

    private static byte[] Encode(int version, ReadOnlySpan<byte> pattern, ReadOnlySpan<byte> channel, ReadOnlySpan<byte> payload, bool isPattern)
    {
        using RespOutput output = new() { Version = version };
        output.Push(isPattern ? 4 : 3);
        output.Bulk(isPattern ? "pmessage"u8 : "message"u8);
        if (isPattern)
        {
            output.Bulk(pattern);
        }

        output.Bulk(channel);
        output.Bulk(payload);
        return output.Unsent.ToArray();
    }
}

/// <summary>Byte strings by their content.</summary>
internal sealed class BytesComparer : IEqualityComparer<byte[]>, IAlternateEqualityComparer<ReadOnlySpan<byte>, byte[]>
{
    public static readonly BytesComparer Instance = new();

    public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

    public int GetHashCode(byte[] bytes) => GetHashCode(bytes.AsSpan());

    public bool Equals(ReadOnlySpan<byte> alternate, byte[] other) => alternate.SequenceEqual(other);

    public int GetHashCode(ReadOnlySpan<byte> alternate)
    {
        // Seeded per process, so nobody can choose names that collide.
        HashCode hash = default;
        hash.AddBytes(alternate);
        return hash.ToHashCode();
    }

    public byte[] Create(ReadOnlySpan<byte> alternate) => alternate.ToArray();
}
