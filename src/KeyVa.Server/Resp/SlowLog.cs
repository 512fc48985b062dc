using System.Diagnostics;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>
/// Commands that took long, the newest first. Reads of one key and gathered SETs are not timed. Thread-safe.
/// </summary>
internal sealed class SlowLog
{
    /// <summary>Arguments of a command, and bytes of an argument, that are kept at most (Redis: slowlog.h).</summary>
    private const int MostArguments = 32;
    private const int MostBytes = 128;

    /// <summary>The highest that may be asked for of <see cref="MaxEntries"/>.</summary>
    public const int MostEntries = 10_000;

    private readonly Lock _lock = new();
    private readonly LinkedList<SlowCommand> _entries = [];
    private long _thresholdMicroseconds = 10_000;
    private int _maxEntries = 128;
    private long _lastNumber = -1;

    /// <summary>From here on commands are kept; negative: none.</summary>
    public long ThresholdMicroseconds
    {
        get => Interlocked.Read(ref _thresholdMicroseconds);
        set => Interlocked.Exchange(ref _thresholdMicroseconds, value);
    }

    public int MaxEntries
    {
        get => Volatile.Read(ref _maxEntries);
        set
        {
            lock (_lock)
            {
                _maxEntries = value;
                Trim();
            }
        }
    }

    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _entries.Count;
            }
        }
    }

    /// <summary>A command has ended that began at a timestamp of <see cref="Stopwatch"/>.</summary>
    public void Note(RespSession session, RespCommand command, long began)
    {
        long threshold = ThresholdMicroseconds;
        long took = (long)Stopwatch.GetElapsedTime(began).TotalMicroseconds;
        if (threshold < 0 || took < threshold || HasSecrets(command[0]))
        {
            return;
        }

        int count = Math.Min(command.Count, MostArguments);
        byte[][] arguments = new byte[count][];
        for (int i = 0; i < count; i++)
        {
            arguments[i] = Shortened(command, i, count);
        }

        lock (_lock)
        {
            _entries.AddFirst(new SlowCommand(++_lastNumber, session.Door.Now() / 1000, took, arguments, session.Peer, session.Name));
            Trim();
        }
    }

    public SlowCommand[] Newest(int count)
    {
        lock (_lock)
        {
            return [.. _entries.Take(count)];
        }
    }

    public void Clear()
    {
        lock (_lock)
        {
            _entries.Clear();
        }
    }

    private static byte[] Shortened(RespCommand command, int argument, int count)
    {
        if (argument == count - 1 && command.Count > count)
        {
            return System.Text.Encoding.ASCII.GetBytes($"... ({command.Count - count + 1} more arguments)");
        }

        ReadOnlySpan<byte> bytes = command[argument];
        return bytes.Length <= MostBytes
            ? bytes.ToArray()
            : [.. bytes[..MostBytes], .. System.Text.Encoding.ASCII.GetBytes($"... ({bytes.Length - MostBytes} more bytes)")];
    }

    private static bool HasSecrets(ReadOnlySpan<byte> name) =>
        System.Text.Ascii.EqualsIgnoreCase(name, "auth"u8) || System.Text.Ascii.EqualsIgnoreCase(name, "hello"u8);

    private void Trim()
    {
        while (_entries.Count > _maxEntries)
        {
            _entries.RemoveLast();
        }
    }
}

/// <summary>A command that took long.</summary>
internal sealed record SlowCommand(long Number, long UnixSeconds, long Microseconds, byte[][] Arguments, string Peer, string Name);
