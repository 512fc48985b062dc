using KeyVa.Io;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Stores;

public sealed class FaultTests
{
    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task VerifyTellsOfAMissingSegmentThatOpeningRefuses(EngineKind engine)
    {
        var fixture = new StoreFixture(new StoreOptions { Engine = engine, JournalSegmentBytes = 1 << 20 });
        await using (Store store = fixture.Open())
        {
            for (int i = 0; i < 30; i++)
            {
                Assert.True(store.Upsert(Bytes($"k{i}"), new byte[100_000]).IsOk);
            }
        }

        var environment = new StoreEnvironment { FileSystem = fixture.Files, Time = fixture.Time };
        Assert.Empty(StoreVerification.Run(StoreFixture.Directory, environment, null, CancellationToken.None));
        string first = fixture.Files.List($"{StoreFixture.Directory}/journal").Where(static name => name.EndsWith(".journal", StringComparison.Ordinal)).Min()!;
        fixture.Files.DeleteFile($"{StoreFixture.Directory}/journal/{first}");
        CorruptionException damage = Assert.Single(StoreVerification.Run(StoreFixture.Directory, environment, null, CancellationToken.None));
        Assert.Contains("the segment is missing", damage.Message, StringComparison.Ordinal);
        Assert.EndsWith(first, damage.File, StringComparison.Ordinal);
        Assert.Equal(damage.Message, Assert.Throws<CorruptionException>(() => fixture.Open()).Message);
    }

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task AFullDiskRefusesPutsAdmitsRemovalsAndRecovers(EngineKind engine)
    {
        var fixture = new StoreFixture(new StoreOptions { Engine = engine, JournalSegmentBytes = 1 << 20, MemtableBytes = 1 << 20 });
        await using (Store store = fixture.Open())
        {
            Assert.True(Set(store, "kept", "1").IsOk);
            fixture.Files.Capacity = fixture.Files.Used + (4 << 20);
            var acknowledged = new List<string>();
            WriteResult last = default;
            byte[] value = new byte[10_000];
            for (int i = 0; i < 5000 && (last.IsOk || i == 0); i++)
            {
                last = store.Upsert(Bytes($"k{i}"), value);
                if (last.IsOk)
                {
                    acknowledged.Add($"k{i}");
                }
            }

            Assert.Equal(Status.Full, last.Status);
            Assert.Contains("full", last.Detail, StringComparison.Ordinal);
            Assert.NotEmpty(acknowledged);
            Assert.Equal("1", Get(store, "kept"));
            foreach (string key in acknowledged.Take(50))
            {
                Assert.Equal(Status.Ok, store.Remove(Bytes(key)).Status);
            }

            Assert.Equal(Status.Full, store.Upsert("big"u8, value).Status);
            fixture.Files.Capacity = long.MaxValue;
            Assert.True(store.Upsert("big"u8, value).IsOk);
            foreach (string key in acknowledged.Skip(50))
            {
                using ValueLease lease = store.Get(Bytes(key));
                Assert.True(lease.Found, key);
            }
        }

        await using Store again = fixture.Open();
        Assert.Equal("1", Get(again, "kept"));
        Assert.Null(Get(again, "k0"));
    }

    [Fact]
    public async Task AFailedSyncStopsTheStore()
    {
        var fixture = new StoreFixture();
        await using (Store store = fixture.Open())
        {
            Assert.True(Set(store, "before", "1").IsOk);
            fixture.Files.Faults.FailNext(FileOperation.SyncData, path: ".journal");
            WriteResult failed = Set(store, "lost", "1");
            Assert.Equal(Status.Failed, failed.Status);
            Assert.Equal(Status.Failed, Set(store, "after", "1").Status);
            Assert.NotNull(store.Failure);
            Assert.Equal("1", Get(store, "before"));
            Assert.Null(Get(store, "lost"));
        }

        fixture.Files = fixture.Files.Crash(1);
        await using Store again = fixture.Open();
        Assert.Equal("1", Get(again, "before"));
        Assert.Null(Get(again, "after"));
    }
}
