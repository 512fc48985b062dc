using KeyVa.Tests.Stores;
using Xunit;

namespace KeyVa.Tests.Transactions;

/// <summary>Gives a new store its partitions.</summary>
internal static class PartitionedStore
{
    /// <summary>Borders between as many partitions as asked for; a store of one has it already.</summary>
    public static void Split(Store store, EngineKind engine, int partitions, params string[] borders)
    {
        for (int i = 0; i < partitions && partitions > 1; i++)
        {
            byte[] from = i == 0 ? [] : StoreFixture.Bytes(borders[i - 1]);
            byte[] to = i == partitions - 1 ? [] : StoreFixture.Bytes(borders[i]);
            Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(from, to), engine).Status);
        }
    }
}
