using System.Buffers.Binary;
using System.Diagnostics;
using KeyVa.Engines;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Engines.Memory;

/// <summary>
/// Readers on several threads beside one writer, guards on. Values describe themselves (key, version, a fill that
/// depends on both), so a torn value, one of another key or one in memory that was used again is noticed.
/// </summary>
[Collection(nameof(Alone))]
public class MemoryEngineConcurrencyTests
{
    private const int Keys = 4_000;
    private const int HeadBytes = 12;
    private static readonly TimeSpan Duration = TimeSpan.FromSeconds(3);

    [Fact]
    public void ReadersNeverSeeWhatWasNotWritten()
    {
        using MemoryEngineFixture fixture = new();
        using CancellationTokenSource stop = new();
        List<Thread> threads = [];
        Exception? failure = null;
        void Start(Action<CancellationToken> body)
        {
            Thread thread = new(() =>
            {
                try
                {
                    body(stop.Token);
                }
                catch (Exception caught)
                {
                    Interlocked.CompareExchange(ref failure, caught, null);
                    stop.Cancel();
                }
            });
            threads.Add(thread);
            thread.Start();
        }

        long reads = 0;
        Start(token => ReadLatest(fixture, 11, ref reads, token));
        Start(token => ReadLatest(fixture, 12, ref reads, token));
        Start(token => ReadSnapshots(fixture, 13, token));
        Start(token => Walk(fixture, token));
        Write(fixture, stop.Token);
        stop.Cancel();
        threads.ForEach(thread => thread.Join());
        Assert.Null(failure);
        Assert.True(Interlocked.Read(ref reads) > 1000, "the readers were starved");
        fixture.Engine.ReclaimAll();
        Assert.Equal(fixture.Engine.GetStatistics().Keys, fixture.Engine.Index.Count);
    }

    /// <summary>No split, doubling of the directory or overflow of a bucket hides a key, not for a moment.</summary>
    [Fact]
    public void ReadersFindEveryKeyWhileTheTableGrows()
    {
        const int Count = 300_000;
        using MemoryEngineFixture fixture = new();
        long[] lost = new long[2];
        long[] found = new long[2];
        Thread[] readers = new Thread[lost.Length];
        for (int t = 0; t < readers.Length; t++)
        {
            int self = t;
            readers[t] = new Thread(() =>
            {
                Random random = new(self);
                byte[] key = new byte[8];
                long visible;
                while ((visible = fixture.Engine.VisibleVersion) < Count)
                {
                    if (visible == 0)
                    {
                        continue;
                    }

                    BinaryPrimitives.WriteInt64BigEndian(key, random.NextInt64(visible) + 1);
                    bool there = fixture.Engine.TryGet(key, ReadVersion.Latest, out ValueLease lease);
                    lease.Dispose();
                    (there ? found : lost)[self]++;
                }
            });
            readers[t].Start();
        }

        byte[] written = new byte[8];
        for (long version = 1; version <= Count; version++)
        {
            BinaryPrimitives.WriteInt64BigEndian(written, version);
            fixture.Engine.Put(written, version, 1, 0, written);
            fixture.Engine.EndGroup(version, version, 1);
            if (version == 1000)
            {
                // Threads that were started do not run at once on a busy machine, and all of this takes a moment.
                Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref found[0]) > 0 && Volatile.Read(ref found[1]) > 0, TimeSpan.FromMinutes(1)), "the readers do not read");
            }
        }

        foreach (Thread reader in readers)
        {
            reader.Join();
        }

        Assert.Equal([0, 0], lost);
        Assert.True(found.Sum() > 0, "the readers were starved");
    }

    private static void Write(MemoryEngineFixture fixture, CancellationToken stop)
    {
        Random random = new(10);
        byte[] key = new byte[8];
        byte[] value = new byte[700];
        Stopwatch watch = Stopwatch.StartNew();
        while (watch.Elapsed < Duration && !stop.IsCancellationRequested)
        {
            for (int i = random.Next(1, 5); i > 0; i--)
            {
                int number = random.Next(Keys);
                BinaryPrimitives.WriteInt64BigEndian(key, number);
                if (random.Next(5) == 0)
                {
                    fixture.Remove(key);
                    continue;
                }

                long version = fixture.Oracle.Take(1);
                Span<byte> filled = Fill(value, number, version);
                long stamp = fixture.Oracle.Now();
                long expiresAt = random.Next(4) == 0 ? stamp + random.Next(100) : 0;
                fixture.Engine.Put(key, version, stamp, expiresAt, filled);
            }

            fixture.EndGroup();
            fixture.Clock.UnixMilliseconds += random.Next(2);
        }
    }

    private static void ReadLatest(MemoryEngineFixture fixture, int seed, ref long reads, CancellationToken stop)
    {
        Random random = new(seed);
        byte[] key = new byte[8];
        long[] seen = new long[Keys];
        while (!stop.IsCancellationRequested)
        {
            int number = random.Next(Keys);
            BinaryPrimitives.WriteInt64BigEndian(key, number);
            long before = fixture.Engine.VisibleVersion;
            bool found = fixture.Engine.TryGet(key, ReadVersion.Latest, out ValueLease lease);
            using (lease)
            {
                if (found)
                {
                    Check(lease.Value, number, lease.Version);
                    Assert.True(lease.Version >= seen[number], "a reader went back in time");
                    seen[number] = lease.Version;
                    Check(lease.Value, number, lease.Version);
                }
            }

            Assert.True(before <= fixture.Engine.VisibleVersion);
            Interlocked.Increment(ref reads);
        }
    }

    /// <summary>What a snapshot shows does not change for as long as it is open.</summary>
    private static void ReadSnapshots(MemoryEngineFixture fixture, int seed, CancellationToken stop)
    {
        Random random = new(seed);
        byte[] key = new byte[8];
        long[] first = new long[Keys];
        while (!stop.IsCancellationRequested)
        {
            // As a store does it: wait until everything up to the snapshot is visible.
            using Snapshot snapshot = fixture.Snapshots.Open(fixture.Oracle);
            while (fixture.Engine.VisibleVersion < snapshot.Version && !stop.IsCancellationRequested)
            {
                Thread.Yield();
            }

            for (int round = 0; round < 2 && !stop.IsCancellationRequested; round++)
            {
                for (int number = 0; number < Keys; number++)
                {
                    BinaryPrimitives.WriteInt64BigEndian(key, number);
                    bool found = fixture.Engine.TryGet(key, snapshot.Version, out ValueLease lease);
                    using (lease)
                    {
                        // A key with an expiry may be reclaimed once the snapshot's own stamp is past it.
                        long version = found && lease.ExpiresAtUnixMilliseconds == 0 ? lease.Version : 0;
                        if (found)
                        {
                            Check(lease.Value, number, lease.Version);
                        }

                        Assert.True(round == 0 || first[number] == version, "a snapshot changed");
                        first[number] = version;
                    }
                }
            }
        }
    }

    private static void Walk(MemoryEngineFixture fixture, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            using Snapshot snapshot = fixture.Snapshots.Open(fixture.Oracle);
            using EngineCursor cursor = fixture.Engine.OpenCursor([], [], snapshot.Version, reverse: false);
            ulong last = 0;
            while (cursor.MoveNext() && !stop.IsCancellationRequested)
            {
                ulong hash = XxHash64.Compute(cursor.Key);
                Assert.True(hash > last, "keys come in the order of their hashes, once each");
                last = hash;
                Check(cursor.Value, (int)BinaryPrimitives.ReadInt64BigEndian(cursor.Key), cursor.Version);
            }
        }
    }

    private static Span<byte> Fill(byte[] value, int number, long version)
    {
        Span<byte> filled = value.AsSpan(0, HeadBytes + (int)(version * 31 % 600));
        BinaryPrimitives.WriteInt32LittleEndian(filled, number);
        BinaryPrimitives.WriteInt64LittleEndian(filled[4..], version);
        filled[HeadBytes..].Fill((byte)(number ^ version));
        return filled;
    }

    private static void Check(ReadOnlySpan<byte> value, int number, long version)
    {
        Assert.Equal(HeadBytes + (int)(version * 31 % 600), value.Length);
        Assert.Equal(number, BinaryPrimitives.ReadInt32LittleEndian(value));
        Assert.Equal(version, BinaryPrimitives.ReadInt64LittleEndian(value[4..]));
        Assert.False(value[HeadBytes..].ContainsAnyExcept((byte)(number ^ version)), "a torn value");
    }
}
