using System.Diagnostics;
using KeyVa.Measurements;

namespace KeyVa.Server;

/// <summary>A request that took long. Immutable.</summary>
/// <param name="Number">Counts up; never given twice while the server runs.</param>
/// <param name="UnixMilliseconds">When it ended.</param>
/// <param name="Door">The front door: rest, grpc or resp.</param>
/// <param name="Operation">What it was, as metrics call it.</param>
/// <param name="Duration">Its time in the server.</param>
/// <param name="Arguments">What was asked, shortened: a Redis command with its arguments; method and key elsewhere.</param>
/// <param name="Peer">Where it came from.</param>
/// <param name="Name">What the client calls itself; may be empty.</param>
/// <param name="Outcome">How it ended, in the protocol's own words; empty if that is not known.</param>
/// <param name="Times">Where the time of its write went; null: it wrote nothing, or the store was not what took long.</param>
internal sealed record SlowRequest(
    long Number, long UnixMilliseconds, string Door, string Operation, TimeSpan Duration, byte[][] Arguments, string Peer, string Name, string Outcome, WriteTimes? Times);

/// <summary>Requests that took long, of all front doors, the newest first. Thread-safe.</summary>
internal sealed class SlowLog(TimeProvider clock)
{
    /// <summary>Arguments of a command, and bytes of an argument, that are kept at most (Redis: slowlog.h).</summary>
    private const int MostArguments = 32;
    private const int MostBytes = 128;

    /// <summary>The highest that may be asked for of <see cref="MaxEntries"/>.</summary>
    public const int MostEntries = 10_000;

    private readonly Lock _lock = new();
    private readonly LinkedList<SlowRequest> _entries = [];
    private int _maxEntries = 128;
    private long _lastNumber = -1;

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

    /// <summary>Requests that came here since the start, those that are gone among them.</summary>
    public long Total
    {
        get
        {
            lock (_lock)
            {
                return _lastNumber + 1;
            }
        }
    }

    /// <summary>Keeps a request that took so many ticks of <see cref="Stopwatch"/>; returns the entry.</summary>
    public SlowRequest Add<TRequest>(string door, string operation, long ticks, ref TRequest request)
        where TRequest : struct, IObservedRequest, allows ref struct
    {
        TimeSpan duration = Stopwatch.GetElapsedTime(0, ticks);
        byte[][] arguments = Shortened(request.Arguments());
        lock (_lock)
        {
            SlowRequest entry = new(
                ++_lastNumber, clock.GetUtcNow().ToUnixTimeMilliseconds(), door, operation, duration, arguments, request.Peer, request.ClientName, request.Outcome, request.Times);
            _entries.AddFirst(entry);
            Trim();
            return entry;
        }
    }

    public SlowRequest[] Newest(int count)
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

    private static byte[][] Shortened(byte[][] arguments)
    {
        byte[][] kept = new byte[Math.Min(arguments.Length, MostArguments)][];
        for (int i = 0; i < kept.Length; i++)
        {
            byte[] bytes = arguments[i];
            kept[i] = i == kept.Length - 1 && arguments.Length > kept.Length ? System.Text.Encoding.ASCII.GetBytes($"... ({arguments.Length - kept.Length + 1} more arguments)")
                : bytes.Length <= MostBytes ? bytes
                : [.. bytes[..MostBytes], .. System.Text.Encoding.ASCII.GetBytes($"... ({bytes.Length - MostBytes} more bytes)")];
        }

        return kept;
    }

    private void Trim()
    {
        while (_entries.Count > _maxEntries)
        {
            _entries.RemoveLast();
        }
    }
}
