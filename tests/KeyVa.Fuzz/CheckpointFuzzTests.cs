using System.Globalization;
using System.Text;
using KeyVa.Engines.Memory;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Fuzz;

/// <summary>Checkpoints of the memory engine from hostile bytes whose checksums fit: every entry lies within them, or they are refused.</summary>
public sealed class CheckpointFuzzTests : Fuzzing
{
    private const string Folder = "/data";

    [Fact]
    public void CheckpointsAreReadOrRefused() => Run(20_000, [Sample(0), Sample(3), Sample(60)], static (input, random) =>
    {
        byte[] bytes = [.. input];
        if (random.Next(8) > 0)
        {
            Checksums.RepairCheckpoint(bytes);
        }

        MemoryFileSystem files = new();
        files.CreateDirectory(Folder);
        using (StorageFile file = files.Create($"{Folder}/checkpoint"))
        {
            file.Write(0, bytes);
        }

        try
        {
            using CheckpointReader reader = new(files.Open($"{Folder}/checkpoint", writable: false));
            reader.ReadEnds();
            for (long left = bytes.Length; reader.MoveNext(); left--)
            {
                Assert.True(left > 0 && reader.Key.Length > 0 && reader.Key.Length + reader.Value.Length <= bytes.Length);
            }
        }
        catch (StoreException)
        {
            // Refused: damaged, or of a later version.
        }
    });

    private static byte[] Sample(int keys)
    {
        MemoryFileSystem files = new();
        StoreEnvironment environment = new() { FileSystem = files };
        Store store = Store.Open(Folder, new StoreOptions { Engine = EngineKind.Memory, JournalSegmentBytes = 1 << 16 }, environment);
        for (int i = 0; i < keys; i++)
        {
            WriteOptions options = new() { Expiry = i % 3 == 0 ? Expiry.InMilliseconds(1L << 40) : Expiry.Never };
            Assert.True(store.Upsert(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"key{i}")), new byte[i * 3], options).IsOk);
        }

        store.Partitions.BeginSnapshot(store.Partitions.List()[0].Id, "/copy").Completion.GetAwaiter().GetResult();
        store.DisposeAsync().AsTask().GetAwaiter().GetResult();
        DataFolder copy = new(files, "/copy");
        string path = copy.Files.Single(path => copy[path].Bytes.AsSpan().StartsWith(CheckpointFormat.Magic));
        return copy[path].Bytes;
    }
}
