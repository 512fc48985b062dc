using System.Collections.Concurrent;
using System.Diagnostics;

namespace KeyVa.Server.Admission;

/// <summary>A rate for each of many keys, made when one is first seen, and forgotten when it has been left alone. Thread-safe.</summary>
/// <remarks>
/// Bounded: with <see cref="MaxRates"/> that are in use, all new ones share one, so that making up names gains nothing.
/// </remarks>
internal sealed class RateTable<TKey>(RateOptions options)
    where TKey : notnull
{
    private const int MaxRates = 16_384;

    private static readonly TimeSpan SweepPause = TimeSpan.FromSeconds(1);

    private readonly ConcurrentDictionary<TKey, Rate> _rates = new();
    private readonly Rate _overflow = new(options);
    private readonly Lock _sweeping = new();
    private long _sweepAt = MaxRates / 2;
    private long _lastSweep = Stopwatch.GetTimestamp() - Stopwatch.Frequency;

    /// <summary>The rate of a key.</summary>
    public Rate Find(TKey key)
    {
        if (_rates.TryGetValue(key, out Rate? rate))
        {
            return rate;
        }

        // ConcurrentDictionary.Count takes all its locks; a new key is rare enough for that.
        int count = _rates.Count;
        if (count >= Volatile.Read(ref _sweepAt) && Stopwatch.GetElapsedTime(Volatile.Read(ref _lastSweep)) > SweepPause)
        {
            Sweep();
        }

        return count >= MaxRates ? _overflow : _rates.GetOrAdd(key, static (_, options) => new Rate(options), options);
    }

    private void Sweep()
    {
        lock (_sweeping)
        {
            Volatile.Write(ref _lastSweep, Stopwatch.GetTimestamp());
            foreach ((TKey key, Rate rate) in _rates)
            {
                if (rate.IsFull)
                {
                    // Nothing is to be disposed of: a bucket without a timer holds memory alone, and somebody may be using it.
                    _rates.TryRemove(key, out _);
                }
            }

            Volatile.Write(ref _sweepAt, Math.Min(MaxRates, Math.Max(MaxRates / 2, _rates.Count * 2L)));
        }
    }
}
