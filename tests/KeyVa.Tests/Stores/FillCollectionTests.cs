using System.Buffers.Binary;
using System.Globalization;
using KeyVa.Tests.Engines;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Tests.Stores;

/// <summary>
/// A fill leaves the garbage collector alone: what flushes and compactions allocate dies young. A few hundred thousand
/// records here; the torture writes ten million: <c>KEYVA_FILL_RECORDS=10000000</c>.
/// </summary>
[Collection(nameof(Alone))]
public sealed class FillCollectionTests(ITestOutputHelper output)
{
    [Fact]
    public async Task AFillCausesNoCollectionOfTheOldestGeneration()
    {
        long records = Environment.GetEnvironmentVariable("KEYVA_FILL_RECORDS") is { Length: > 0 } text
            ? long.Parse(text, CultureInfo.InvariantCulture)
            : 300_000;
        string directory = Directory.CreateTempSubdirectory("keyva-fill-").FullName;
        try
        {
            await using Store store = Store.Open(directory, new StoreOptions { Durability = Durability.Os, MemtableBytes = 16 << 20 });
            byte[] key = new byte[16];
            byte[] value = new byte[100];

            // What the tests before this one have left is no reason for one.
            GC.Collect();
            long allocated = GC.GetTotalAllocatedBytes();
            int young = GC.CollectionCount(0);
            int old = GC.CollectionCount(2);
            for (long i = 0; i < records; i++)
            {
                BinaryPrimitives.WriteUInt64BigEndian(key, (ulong)i * 0x9E3779B97F4A7C15);
                Assert.True(store.Upsert(key, value).IsOk);
            }

            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{records} records: {GC.GetTotalAllocatedBytes() - allocated} bytes allocated, {GC.CollectionCount(0) - young} collections, {GC.CollectionCount(2) - old} of gen 2"));
            Assert.Equal(old, GC.CollectionCount(2));
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }
}
