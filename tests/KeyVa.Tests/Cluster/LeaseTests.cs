using System.Diagnostics;
using KeyVa.Cluster;
using KeyVa.Cluster.Driver;
using KeyVa.Io;
using KeyVa.Tests.Cluster.Processes;
using Xunit;

namespace KeyVa.Tests.Cluster;

/// <summary>Reads by lease (docs/replication.md, Leases), of whole nodes; the rules of the core are in Raft/ReadTests and RequestVoteTests.</summary>
public sealed class LeaseTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    [Fact]
    public async Task ALeaderReadsByItsLeaseAndNoLonger()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(requestTimeout: TimeSpan.FromSeconds(2), fallsSilent: false, leaseReads: true);
        long begun = Stopwatch.GetTimestamp();
        while (true)
        {
            Assert.True(Stopwatch.GetElapsedTime(begun) < Patience, "no read was answered by a lease");
            (ClusterNode leader, _) = await LeasedAsync(cluster);

            // Nobody can be asked any more: what is answered while the lease lasts is answered by it. On a busy machine it may be over before.
            cluster.LoseAll();
            Task<Status> read = leader.ConfirmReadsAsync().AsTask();
            await UntilAsync(async () => !(await leader.GetStatusAsync())[0].HasLease);
            Status late = await leader.ConfirmReadsAsync();
            Status early = await read;
            cluster.Heal();
            Assert.Equal(Status.Unavailable, late);
            if (early == Status.Ok)
            {
                return;
            }
        }
    }

    [Fact]
    public async Task WithLeasesOffNobodyHasOne()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(fallsSilent: false);
        long leader = await cluster.LeaderAsync();
        Assert.Equal(Status.Ok, await cluster.Nodes[leader].ConfirmReadsAsync());
        Assert.All(cluster.Nodes.Values, static node => Assert.False(node.GetStatusAsync().GetAwaiter().GetResult()[0].HasLease));
    }

    [Fact]
    public async Task LeasesAreSwitchedOnOneNodeAfterTheOther()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(fallsSilent: false);
        cluster.LeaseReads = true;
        await cluster.StopAsync(1);
        cluster.Open(1, 1, 2, 3);
        await cluster.LeadAsync(1, 1);

        // Rounds are answered, and nobody promises.
        for (int i = 0; i < 3; i++)
        {
            Assert.Equal(Status.Ok, await cluster.Nodes[1].ConfirmReadsAsync());
            Assert.False((await cluster.Nodes[1].GetStatusAsync())[0].HasLease);
        }

        await cluster.StopAsync(2);
        cluster.Open(2, 1, 2, 3);
        await LeasedAsync(cluster);
        Assert.True((await cluster.Nodes[3].Store.UpsertAsync("a"u8.ToArray(), "1"u8.ToArray())).IsOk);
        (ClusterNode leader, _) = await LeasedAsync(cluster);
        Assert.Equal(Status.Ok, await leader.ConfirmReadsAsync());
        using ValueLease value = leader.Store.Get("a"u8.ToArray());
        Assert.True(value.Found);
    }

    [Fact]
    public async Task WhatWasPromisedIsWrittenDownBefore()
    {
        uint promise = (uint)ThreeNodes.ShortElectionTimeout.TotalMilliseconds;
        await using ThreeNodes cluster = ThreeNodes.Start(nodes: 1);
        Assert.Equal(0u, PromiseOf(cluster.Disk(1)));
        await cluster.StopAsync(1);
        cluster.LeaseReads = true;
        cluster.Open(1, 1);
        Assert.Equal(promise, PromiseOf(cluster.Disk(1)));
        await cluster.StopAsync(1);
        Assert.Equal(promise, PromiseOf(cluster.Disk(1)));

        // With leases off it is kept until it is over, and then forgotten.
        cluster.LeaseReads = false;
        cluster.Open(1, 1);
        Assert.Equal(promise, PromiseOf(cluster.Disk(1)));
        long begun = BootClock.Milliseconds;
        await UntilAsync(() => Task.FromResult(BootClock.Milliseconds - begun > promise));
        await cluster.StopAsync(1);
        Assert.Equal(0u, PromiseOf(cluster.Disk(1)));
        cluster.Open(1, 1);
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(1000, 2)]
    public void TheFileSaysWhatWasPromised(uint promise, byte format)
    {
        var files = new MemoryFileSystem();
        files.CreateDirectory("/data");
        var book = new AddressBook();
        book.Learn(3, new AddressBook.Entry(7, new ClusterPeer("127.0.0.1", 7404), "rest", "data", "control", "resp"));
        new ClusterFile(3, "demo", book, promise).Write(files, "/data");
        using (StorageFile file = files.Open("/data/CLUSTER", writable: false))
        {
            byte[] head = new byte[9];
            Assert.Equal(head.Length, file.Read(0, head));

            // A build that knows nothing of promises reads what has none, and refuses the other.
            Assert.Equal(format, head[8]);
        }

        ClusterFile read = ClusterFile.Read(files, "/data")!;
        Assert.Equal((3, "demo", promise), (read.Node, read.Name, read.PromiseMilliseconds));
        Assert.Equal("rest", read.Book.Find(3)!.Rest);
    }

    [Theory]
    [InlineData(true, 0, 1000, 1000)]
    [InlineData(false, 0, 0, 0)]
    [InlineData(false, 3000, 3000, 0)]
    [InlineData(true, 3000, 3000, 1000)]
    [InlineData(true, 500, 1000, 1000)]
    public void APromiseIsKeptAsLongAsItWasMadeFor(bool leases, long before, uint recorded, uint later)
    {
        // It has begun between the two readings, however far apart they are.
        long earliest = BootClock.Milliseconds;
        var promise = new LeasePromise(new DriverOptions { Node = 1, Cluster = 1, Seed = 1, LeaseReads = leases, PromisedBefore = before });
        long latest = BootClock.Milliseconds;
        Assert.Equal(recorded, promise.Recorded);
        Assert.Equal(later, promise.AtEnd(latest + before));
        Assert.Equal(before == 0 ? later : recorded, promise.AtEnd(earliest + before - 1));
    }

    [Fact]
    public void TheClockIsTheSystemsAndNeverFalls()
    {
        // Seconds since the machine's start, asleep or not, in hundredths.
        static double Uptime() => double.Parse(File.ReadAllText("/proc/uptime").Split(' ')[0], System.Globalization.CultureInfo.InvariantCulture) * 1000;
        long last = 0;
        for (int i = 0; i < 1000; i++)
        {
            double before = Uptime();
            long now = BootClock.Milliseconds;
            double after = Uptime();
            Assert.InRange(now, before - 10, after + 20);
            Assert.True(now >= last, "the clock went back");
            last = now;
        }
    }

    /// <summary>Waits for a leader with a lease.</summary>
    private static async Task<(ClusterNode Leader, ReplicaStatus Status)> LeasedAsync(ThreeNodes cluster)
    {
        (ClusterNode, ReplicaStatus)? found = null;
        await UntilAsync(async () =>
        {
            foreach (ClusterNode node in cluster.Nodes.Values)
            {
                if ((await node.GetStatusAsync())[0] is { HasLease: true } status)
                {
                    found = (node, status);
                }
            }

            return found is not null;
        });
        return found!.Value;
    }

    private static uint PromiseOf(MemoryFileSystem disk) => ClusterFile.Read(disk, "/data")!.PromiseMilliseconds;

    private static async Task UntilAsync(Func<Task<bool>> condition)
    {
        long begun = Stopwatch.GetTimestamp();
        while (!await condition())
        {
            Assert.True(Stopwatch.GetElapsedTime(begun) < Patience, "it did not happen");
            await Pause.ForAsync(TimeSpan.FromMilliseconds(2));
        }
    }
}
