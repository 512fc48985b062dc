using System.Buffers.Binary;
using System.Text;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Stores;

/// <summary>Checkpoints taken while several threads write and compactions run: each holds exactly the state at its version.</summary>
public sealed class CheckpointTests
{
    private const int Writers = 3;
    private const int KeysPerWriter = 60;

    [Theory]
    [InlineData(EngineKind.Lsm, false)]
    [InlineData(EngineKind.Memory, false)]
    [InlineData(EngineKind.Lsm, true)]
    public async Task ACheckpointUnderWritersHoldsExactlyItsVersionAndStandsAlone(EngineKind engine, bool onDisk)
    {
        string root = onDisk ? Directory.CreateTempSubdirectory("keyva-checkpoint-").FullName : "/";
        try
        {
            IFileSystem files = onDisk ? new DiskFileSystem() : new MemoryFileSystem();
            StoreEnvironment environment = SmallStore.Environment(files);
            if (onDisk)
            {
                // Each new file costs syncs there.
                environment = environment with { Engine = static engine => engine with { MemtableBytes = 256 << 10, TableBytes = 128 << 10, Level0Tables = 2, Level1Bytes = 512 << 10 } };
            }

            var options = new StoreOptions { Engine = engine, Durability = Durability.Os, JournalSegmentBytes = 256 << 10, JournalBudgetBytes = 1 << 20 };
            string source = Path.Combine(root, "source");
            var histories = new List<(long Version, long Value)>[Writers * KeysPerWriter];
            var results = new List<(string Directory, PartitionSnapshotResult Result)>();
            await using (Store store = Store.Open(source, options, environment))
            {
                bool stop = false;
                long written = 0;
                Thread[] writers = [.. Enumerable.Range(0, Writers).Select(writer => new Thread(() => Write(store, writer, histories, ref written, ref stop)))];
                Array.ForEach(writers, static writer => writer.Start());
                for (int i = 0; i < (onDisk ? 3 : 8); i++)
                {
                    string target = Path.Combine(root, $"copy-{i}");
                    long before = Interlocked.Read(ref written);
                    Assert.True(SpinWait.SpinUntil(() => Interlocked.Read(ref written) > before, TimeSpan.FromMinutes(1)), "the writers do not go on");
                    results.Add((target, await store.Partitions.BeginSnapshot(1, target).Completion));
                }

                Volatile.Write(ref stop, true);
                Array.ForEach(writers, static writer => writer.Join());
            }

            // Independent: whatever happens to the source.
            files.DeleteDirectory(source);
            foreach ((string directory, PartitionSnapshotResult result) in results)
            {
                Assert.Equal(Status.Ok, result.Status);
                Assert.Empty(StoreVerification.Run(directory, environment, null, CancellationToken.None));
                await using Store copy = Store.Open(directory, options, environment);
                Check(copy, result.Version, histories);
            }

            Assert.True(results[^1].Result.Version > results[0].Result.Version, "the writers went on meanwhile");
        }
        finally
        {
            if (onDisk)
            {
                Directory.Delete(root, recursive: true);
            }
        }
    }

    private static void Write(Store store, int writer, List<(long Version, long Value)>[] histories, ref long written, ref bool stop)
    {
        var random = new Random(writer);
        byte[] value = new byte[80];
        for (long number = 1; !Volatile.Read(ref stop); number++)
        {
            int key = (writer * KeysPerWriter) + random.Next(KeysPerWriter);
            bool removes = number % 11 == 0;
            BinaryPrimitives.WriteInt64LittleEndian(value, number);
            WriteResult result = removes ? store.Remove(Key(key), blind: true) : store.Upsert(Key(key), value);
            Assert.True(result.IsOk, result.Detail);
            (histories[key] ??= []).Add((result.Version, removes ? 0 : number));
            Interlocked.Increment(ref written);
        }
    }

    private static void Check(Store copy, long version, List<(long Version, long Value)>[] histories)
    {
        for (int key = 0; key < histories.Length; key++)
        {
            long expected = histories[key]?.LastOrDefault(write => write.Version <= version).Value ?? 0;
            using ValueLease lease = copy.Get(Key(key));
            Assert.Equal(expected, lease.Found ? BinaryPrimitives.ReadInt64LittleEndian(lease.Value) : 0);
        }
    }

    private static byte[] Key(int key) => Encoding.ASCII.GetBytes($"key{key:D4}");
}
