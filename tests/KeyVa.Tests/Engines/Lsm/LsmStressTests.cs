using System.Buffers.Binary;
using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Io;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

/// <summary>
/// One writer, several readers, real background threads. Every value tells its key and round, so that a reader can judge
/// what it sees: a get never goes back in time, and a cursor sees the groups whole.
/// </summary>
public sealed class LsmStressTests
{
    private const int Pairs = 500;
    private const int Rounds = 400;

    [Fact]
    public void ReadersSeeWholeGroupsWhileEverythingMoves()
    {
        var files = new MemoryFileSystem();
        files.CreateDirectory(LsmFixture.Directory);
        using var background = new BackgroundThreads(2);
        using var cache = new BlockCache(128 << 10);
        var oracle = new VersionOracle(TimeProvider.System);
        var snapshots = new SnapshotList();
        EngineContext context = new()
        {
            FileSystem = files,
            Directory = LsmFixture.Directory,
            Options = LsmFixture.SmallOptions with { MemtableBytes = 96 << 10, TableBytes = 32 << 10, Level1Bytes = 96 << 10 },
            Background = background,
            Snapshots = snapshots,
            BlockCache = cache,
            Time = TimeProvider.System,
        };
        LsmEngine engine = LsmEngine.Open(context);
        using var done = new CancellationTokenSource();
        Exception? failure = null;
        Thread[] readers =
        [
            Start(() => ReadPoints(engine, done.Token), e => failure ??= e),
            Start(() => ReadPoints(engine, done.Token), e => failure ??= e),
            Start(() => Scan(engine, oracle, snapshots, reverse: false, done.Token), e => failure ??= e),
            Start(() => Scan(engine, oracle, snapshots, reverse: true, done.Token), e => failure ??= e),
        ];
        Write(engine, oracle, () => failure is not null);
        done.Cancel();
        foreach (Thread reader in readers)
        {
            reader.Join();
        }

        Assert.Null(failure);
        Assert.Null(engine.Failure);
        SpinWait.SpinUntil(() => engine.Versions.Current.Immutables.Length == 0 && engine.GetStatistics().BytesCompacted > 0, TimeSpan.FromMinutes(1));
        Assert.Empty(engine.Verify(CancellationToken.None));
        EngineStatistics statistics = engine.GetStatistics();
        Assert.True(statistics.BytesFlushed > 0 && statistics.BytesCompacted > 0);
        engine.Dispose();
        using LsmEngine again = LsmEngine.Open(context);
        Assert.Equal(engine.DurableIndex, again.AppliedIndex);
    }

    private static Thread Start(Action run, Action<Exception> failed)
    {
        Thread thread = new(() =>
        {
            try
            {
                run();
            }
            catch (Exception e)
            {
                failed(e);
            }
        });
        thread.Start();
        return thread;
    }

    private static byte[] Key(int pair, int side)
    {
        byte[] key = new byte[16];
        BinaryPrimitives.WriteInt32BigEndian(key, (int)((uint)pair * 2654435761u));
        BinaryPrimitives.WriteInt32BigEndian(key.AsSpan(4), pair);
        key[15] = (byte)side;
        return key;
    }

    private static void Write(LsmEngine engine, VersionOracle oracle, Func<bool> stop)
    {
        var random = new Random(1);
        byte[] value = new byte[60];
        long index = 0;
        for (int round = 1; round <= Rounds && !stop(); round++)
        {
            for (int i = 0; i < Pairs; i++)
            {
                int pair = random.Next(Pairs);
                BinaryPrimitives.WriteInt32LittleEndian(value, pair);
                BinaryPrimitives.WriteInt64LittleEndian(value.AsSpan(4), ++index);
                engine.Admit(200);
                long version = oracle.Take(1);
                long stamp = oracle.Now();
                if (random.Next(500) == 0)
                {
                    // One pair, or all between two.
                    byte[] from = Key(pair, 0);
                    byte[] to = random.Next(2) == 0 ? Key(pair, 2) : Key(random.Next(Pairs), 0);
                    bool rising = from.AsSpan().SequenceCompareTo(to) < 0;
                    engine.RemoveRange(rising ? from : to, rising ? to : [.. from.AsSpan(0, 15), 2], version, stamp);
                }
                else if (random.Next(10) == 0)
                {
                    engine.Remove(Key(pair, 0), version, stamp);
                    engine.Remove(Key(pair, 1), version, stamp);
                }
                else
                {
                    engine.Put(Key(pair, 0), version, stamp, 0, value);
                    engine.Put(Key(pair, 1), version, stamp, 0, value);
                }

                engine.EndGroup(index, version, stamp);
            }
        }
    }

    private static void ReadPoints(LsmEngine engine, CancellationToken done)
    {
        var random = new Random(Environment.CurrentManagedThreadId);
        long[] last = new long[Pairs];
        while (!done.IsCancellationRequested)
        {
            int pair = random.Next(Pairs);
            bool found = engine.TryGet(Key(pair, random.Next(2)), ReadVersion.Latest, out ValueLease lease);
            if (found)
            {
                Assert.Equal(pair, BinaryPrimitives.ReadInt32LittleEndian(lease.Value));
                long index = BinaryPrimitives.ReadInt64LittleEndian(lease.Value[4..]);
                Assert.True(index >= last[pair], "a read went back in time");
                last[pair] = index;
            }

            lease.Dispose();
        }
    }

    private static void Scan(LsmEngine engine, VersionOracle oracle, SnapshotList snapshots, bool reverse, CancellationToken done)
    {
        while (!done.IsCancellationRequested)
        {
            // Versions are taken before their groups are visible: wait for those that the snapshot contains.
            using Snapshot snapshot = snapshots.Open(oracle);
            SpinWait.SpinUntil(() => engine.VisibleVersion >= snapshot.Version || done.IsCancellationRequested);
            if (done.IsCancellationRequested)
            {
                return;
            }

            using EngineCursor cursor = engine.OpenCursor(default, default, snapshot.Version, reverse);
            while (cursor.MoveNext())
            {
                byte[] first = cursor.Value.ToArray();
                byte side = cursor.Key[15];
                Assert.True(cursor.MoveNext(), "half a group");
                Assert.Equal(first, cursor.Value.ToArray());
                Assert.Equal(1, side + cursor.Key[15]);
            }
        }
    }
}
