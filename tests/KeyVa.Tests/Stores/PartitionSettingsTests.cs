using KeyVa.Io;
using KeyVa.Partitions;
using KeyVa.Replication;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Stores;

/// <summary>A partition's own settings in a store that is alone: as durable as its data, wherever that goes.</summary>
public sealed class PartitionSettingsTests
{
    private const string Name = PartitionSettings.AcknowledgementName;

    public static TheoryData<EngineKind, bool, bool> Endings()
    {
        var data = new TheoryData<EngineKind, bool, bool>();
        foreach (EngineKind engine in (EngineKind[])[EngineKind.Lsm, EngineKind.Memory])
        {
            foreach (bool flushes in (bool[])[false, true])
            {
                data.Add(engine, flushes, false);
                data.Add(engine, flushes, true);
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Endings))]
    public async Task TheyAreThereAfterARestart(EngineKind engine, bool flushes, bool losesPower)
    {
        var fixture = new StoreFixture(new StoreOptions { Engine = engine, JournalSegmentBytes = 1 << 20, SplitAt = [Bytes("m")] });
        foreach (string value in (string[])["async", "sync", "default", "async"])
        {
            Store store = fixture.Open();
            Assert.True(Set(store, "key", value).IsOk);
            PartitionResult set = await store.Partitions.SetAsync(2, Name, value);
            Assert.Equal((Status.Ok, value), (set.Status, set.Partition!.Settings.Acknowledgement.ToString()));
            if (flushes)
            {
                ((PartitionRegistry)store.Partitions).Flush([2]);
                await store.Partitions.BeginCompaction(2, KeyRange.All).Completion;
            }

            await store.DisposeAsync();
            fixture.Files = losesPower ? fixture.Files.Crash(5) : fixture.Files;
            Assert.Empty(SmallStore.Verify(fixture.Files));
            store = fixture.Open();
            Assert.Equal(["default", value], store.Partitions.List().Select(static one => one.Settings.Acknowledgement.ToString()));
            await store.DisposeAsync();
        }
    }

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task ACopyAndARepairedFolderHaveThem(EngineKind engine)
    {
        var fixture = new StoreFixture(new StoreOptions { Engine = engine, JournalSegmentBytes = 1 << 20 });
        await using (Store store = fixture.Open())
        {
            Assert.True(Set(store, "key", "1").IsOk);
            Assert.Equal(Status.Ok, (await store.Partitions.SetAsync(1, Name, "async")).Status);
            Assert.Equal(Status.Ok, (await store.Partitions.BeginSnapshot(1, "/copy").Completion).Status);

            // One that the files have, and the journal perhaps no more; and one that the journal has alone.
            await Repaired(store, "/first", "async");
            Assert.Equal(Status.Ok, (await store.Partitions.SetAsync(1, Name, "sync")).Status);
        }

        await Repaired(null, "/second", "sync");
        await using Store copy = Store.Open("/copy", null, new StoreEnvironment { FileSystem = fixture.Files });
        Assert.Equal("async", copy.Partitions.List()[0].Settings.Acknowledgement.ToString());

        async Task Repaired(Store? open, string to, string expected)
        {
            // The lock is the open store's: what is repaired is a copy.
            string from = open is null ? StoreFixture.Directory : "/copy";
            RepairReport report = StoreRepair.Run(from, to, new StoreEnvironment { FileSystem = fixture.Files }, CancellationToken.None);
            Assert.Empty(report.Losses);
            await using Store repaired = Store.Open(to, null, new StoreEnvironment { FileSystem = fixture.Files });
            Assert.Equal(expected, repaired.Partitions.List()[0].Settings.Acknowledgement.ToString());
            Assert.Equal("1", Get(repaired, "key"));
        }
    }

    [Fact]
    public async Task DamageToTheirFileIsFoundAndTheRepairSaysWhatIsLost()
    {
        var fixture = new StoreFixture();
        await using (Store store = fixture.Open())
        {
            Assert.Equal(Status.Ok, (await store.Partitions.SetAsync(1, Name, "async")).Status);
            Assert.Equal(Status.Ok, (await store.Partitions.BeginSnapshot(1, "/copy").Completion).Status);
        }

        string file = Assert.Single(fixture.Files.List("/copy/partitions/1"), KeyVa.Sessions.SessionsFile.IsName);
        fixture.Files.Corrupt($"/copy/partitions/1/{file}", 20, 1);
        Assert.Contains(file, Assert.Single(StoreVerification.Run("/copy", new StoreEnvironment { FileSystem = fixture.Files }, null, CancellationToken.None)).Message, StringComparison.Ordinal);
        Assert.Contains(file, Assert.Throws<CorruptionException>(() => Store.Open("/copy", null, new StoreEnvironment { FileSystem = fixture.Files })).Message, StringComparison.Ordinal);
        RepairReport report = StoreRepair.Run("/copy", "/repaired", new StoreEnvironment { FileSystem = fixture.Files }, CancellationToken.None);
        Assert.Contains("own settings", Assert.Single(report.Losses).Detail, StringComparison.Ordinal);
        await using Store repaired = Store.Open("/repaired", null, new StoreEnvironment { FileSystem = fixture.Files });
        Assert.Equal(PartitionSettings.None, repaired.Partitions.List()[0].Settings);
    }

    [Fact]
    public async Task WhatCannotBeIsRefused()
    {
        var fixture = new StoreFixture();
        await using Store store = fixture.Open();
        await Refused(1, Name, "quorum", Status.Invalid, "allowed is: async, semi-sync=K");
        await Refused(1, "retention", "1h", Status.Invalid, "no setting 'retention'; there is: acknowledgement");
        await Refused(1, Name, "semi-sync=1", Status.Invalid, "lives on one node");
        await Refused(9, Name, "async", Status.NotFound, "no partition 9");
        Assert.Equal(Status.Ok, store.Partitions.Remove(1).Status);
        PartitionInfo isVolatile = store.Partitions.Add(KeyRange.All, EngineKind.Memory, isVolatile: true).Partition!;
        await Refused(isVolatile.Id, Name, "semi-sync", Status.Invalid, "is volatile");
        Assert.Equal(Status.Ok, (await store.Partitions.SetAsync(isVolatile.Id, Name, "async")).Status);

        async Task Refused(long id, string name, string value, Status status, string detail)
        {
            PartitionResult result = await store.Partitions.SetAsync(id, name, value);
            Assert.Equal(status, result.Status);
            Assert.Contains(detail, result.Detail, StringComparison.Ordinal);
            Assert.All(store.Partitions.List(), static one => Assert.Equal(PartitionSettings.None, one.Settings));
        }
    }

    [Fact]
    public async Task AJournalWithASettingOfANewerBuildIsNotOpened()
    {
        var fixture = new StoreFixture();
        await using (Store store = fixture.Open())
        {
            Assert.True(Set(store, "key", "1").IsOk);
            Assert.True(((PartitionRegistry)store.Partitions).Map.TryFind(1, out Partition? partition));

            // A newer build would take it; this one stops at it, and again when it is replayed.
            var answered = new TaskCompletionSource<WriteResult>();
            partition!.Writer.WriteAsync(new SettingChange("retention", "1h", answered.SetResult));
            Assert.Contains("'retention'", (await answered.Task).Detail, StringComparison.Ordinal);
            Assert.False(Set(store, "key", "2").IsOk);
        }

        Assert.Contains("a newer one", Assert.Throws<StoreException>(() => fixture.Open()).Message, StringComparison.Ordinal);
    }

    /// <summary>Passed over, it would make the replica another than the others'.</summary>
    [Fact]
    public async Task AReplicaDoesNotPassOverCommandsOfANewerFormat()
    {
        var fixture = new StoreFixture();
        await using Store store = fixture.Open();
        Assert.True(((PartitionRegistry)store.Partitions).Map.TryFind(1, out Partition? partition));
        var writer = new ReplicatedWriter(partition!.Writer, partition.Writer.Queue, new VersionOracle(fixture.Time));
        byte[] payload = new byte[GroupEntry.HeaderBytes];
        GroupEntry.WriteHeader(payload, GroupEntry.SettingsFormat + 1, 1, 1, 0);
        Assert.Contains("entry 7 of partition 1", Assert.Throws<StoreException>(() => writer.Apply(new WriteReceipt { Index = 7 }, payload, null)).Message, StringComparison.Ordinal);
        Assert.Equal(0, partition.Engine.AppliedIndex);
    }

    [Fact]
    public void ALeaderTakesNoGroupWithASettingThatItDoesNotKnow()
    {
        Assert.True(IsWhole(Name, "async"));
        Assert.False(IsWhole(Name, "quorum"));
        Assert.False(IsWhole("retention", "1h"));

        static bool IsWhole(string name, string value)
        {
            using NativeBuffer operation = new();
            OperationEncoding.AppendSetting(operation, Bytes(name), Bytes(value));
            byte[] payload = new byte[GroupEntry.HeaderBytes + sizeof(int) + operation.Length];
            GroupEntry.WriteHeader(payload, GroupEntry.SettingsFormat, 0, 0, 1);
            BitConverter.TryWriteBytes(payload.AsSpan(GroupEntry.HeaderBytes), operation.Length);
            operation.Written.CopyTo(payload.AsSpan(GroupEntry.HeaderBytes + sizeof(int)));
            return ReplicatedWriter.IsWhole(payload);
        }
    }
}
