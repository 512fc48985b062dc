using System.Net;
using System.Net.Sockets;
using KeyVa.Cluster;
using KeyVa.Io;
using KeyVa.Log;
using KeyVa.Partitions;
using KeyVa.Replication;
using Xunit;

namespace KeyVa.Tests.Cluster;

/// <summary>A node that cannot be opened says why, and leaves nothing behind: no thread that is waited for, no lock, no port.</summary>
public sealed class ClusterNodeOpeningTests : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    private readonly string _path = Directory.CreateTempSubdirectory("keyva-").FullName;

    public void Dispose() => Directory.Delete(_path, recursive: true);

    [Fact]
    public async Task WhatFailsBehindTheRolesOfTheWritersIsTold()
    {
        var options = new StoreOptions { SplitAt = ["m"u8.ToArray()], JournalSegmentBytes = 1 << 20 };
        var files = new MemoryFileSystem();
        Task<StoreException> opening = Task.Run(() => Assert.Throws<StoreException>(() =>
            Store.Open("/data", options, new StoreEnvironment { FileSystem = files, Replication = new Refusing() })));
        Assert.Equal(Refusing.Reason, (await opening.WaitAsync(Patience)).Message);

        // Its lock is gone as well.
        await using Store store = Store.Open("/data", options, new StoreEnvironment { FileSystem = files });
        Assert.True(store.Upsert("a"u8, "1"u8).IsOk);
    }

    [Fact]
    public async Task APortThatIsTakenIsToldAndTheFolderIsFree()
    {
        // None that the system gives to anybody else once it is free.
        int port = Ports.Take();
        using var other = new TcpListener(IPAddress.Loopback, port);
        other.Start();
        var options = new ClusterOptions { Name = "test", Node = 1, Peers = new Dictionary<long, ClusterPeer> { [1] = new("127.0.0.1", port) } };
        Task<StoreException> opening = Task.Run(() => Assert.Throws<StoreException>(() => ClusterNode.Open(_path, new StoreOptions(), options)));
        Assert.Contains($"{port}", (await opening.WaitAsync(Patience)).Message, StringComparison.Ordinal);
        other.Stop();

        await using ClusterNode node = ClusterNode.Open(_path, new StoreOptions(), options);
        Assert.True((await node.Store.UpsertAsync("a"u8.ToArray(), "1"u8.ToArray())).IsOk);
    }

    /// <summary>Takes the roles of the writers, as a driver does, and then cannot go on.</summary>
    private sealed class Refusing : IReplication
    {
        public const string Reason = "the replicas cannot be opened";

        public void Opened(PartitionRegistry registry, StoreContext context, Journal journal)
        {
            foreach (Partition partition in registry.Map.Partitions)
            {
                partition.Writer.Replicate(this);
            }

            throw new StoreException(Reason);
        }

        public void Recover(in JournalRecord record)
        {
        }

        public long RecoveredIndex(long partition) => 0;

        public void Wake(long partition)
        {
        }

        public Task<WriteResult> CommitAsync(CommandBuilder command, IReadOnlyList<CommitPart> parts) => throw new InvalidOperationException();

        public Task<WriteResult> ReachAsync(long partition, long version) => throw new InvalidOperationException();

        public Task<int> CountVotersAsync(long partition) => throw new InvalidOperationException();

        public void DurableAdvanced(long partition, long index)
        {
        }
    }
}
