using System.Buffers.Binary;
using KeyVa.Cluster.Transport;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Cluster.Transport;

/// <summary>What every transport keeps to; each runs it.</summary>
public abstract class TransportSuite
{
    /// <summary>Nodes that know each other.</summary>
    internal abstract Task<TransportNodes> StartAsync(params ulong[] nodes);

    [Fact]
    public async Task FramesArriveInOrderBothWays()
    {
        await using TransportNodes nodes = await StartAsync(1, 2);
        const int Count = 3000;
        for (int i = 0; i < Count; i++)
        {
            await SendAsync(nodes, 1, 2, Frame(i));
            await SendAsync(nodes, 2, 1, Frame(i));
        }

        for (int i = 0; i < Count; i++)
        {
            Assert.Equal(Frame(i), await nodes.NextAsync(at: 2, from: 1));
            Assert.Equal(Frame(i), await nodes.NextAsync(at: 1, from: 2));
        }
    }

    [Fact]
    public async Task FramesOfEverySizeArriveWhole()
    {
        await using TransportNodes nodes = await StartAsync(1, 2);
        int[] sizes = [0, 1, 7, 8, 29, 30, 33, 255, 256, 8191, 8192, 65_536, 1 << 20, (1 << 20) + 1, 9 << 20];
        foreach (int size in sizes)
        {
            byte[] frame = new byte[size];
            new Random(size).NextBytes(frame);
            await SendAsync(nodes, 1, 2, frame);
            byte[] arrived = await nodes.NextAsync(at: 2, from: 1);
            Assert.True(frame.AsSpan().SequenceEqual(arrived), $"{size} bytes");
        }
    }

    [Fact]
    public async Task FramesOfSeveralNodesAreToldApart()
    {
        await using TransportNodes nodes = await StartAsync(1, 2, 3);
        await SendAsync(nodes, 1, 3, [1]);
        await SendAsync(nodes, 2, 3, [2]);
        (ulong, byte[])[] came = [await nodes.Recorder(3).NextAsync(), await nodes.Recorder(3).NextAsync()];
        Assert.Equal([1UL, 2UL], came.Select(static one => one.Item1).Order());
        Assert.All(came, static one => Assert.Equal((byte)one.Item1, Assert.Single(one.Item2)));
    }

    [Fact]
    public async Task WhoIsNoPeerIsSentNothing()
    {
        await using TransportNodes nodes = await StartAsync(1, 2);
        Assert.False(nodes.Transport(1).TrySend(9, [1]));
        Assert.False(nodes.Transport(1).TrySend(1, [1]));
    }

    [Fact]
    public async Task APeerThatIsLetGoIsHeardNoMore()
    {
        await using TransportNodes nodes = await StartAsync(1, 2, 3);
        await SendAsync(nodes, 2, 1, [1]);
        Assert.Equal([1], await nodes.NextAsync(at: 1, from: 2));
        nodes.SetPeers(1, 3);
        Assert.False(nodes.Transport(1).TrySend(2, [1]));
        await SendAsync(nodes, 3, 1, [3]);
        Assert.Equal([3], await nodes.NextAsync(at: 1, from: 3));
        nodes.Transport(2).TrySend(1, [2]);
        await SendAsync(nodes, 3, 1, [4]);
        Assert.Equal([4], await nodes.NextAsync(at: 1, from: 3));
        Assert.True(nodes.Recorder(1).IsSilent);
    }

    [Fact]
    public async Task APeerThatWasRestartedIsHeardAgain()
    {
        await using TransportNodes nodes = await StartAsync(1, 2);
        await SendAsync(nodes, 1, 2, [1]);
        Assert.Equal([1], await nodes.NextAsync(at: 2, from: 1));
        await nodes.RestartAsync(2);
        await SendAsync(nodes, 2, 1, [2]);
        Assert.Equal([2], await nodes.NextAsync(at: 1, from: 2));
        await SendAsync(nodes, 1, 2, [3]);
        Assert.Equal([3], await nodes.NextAsync(at: 2, from: 1));
    }

    [Fact]
    public async Task APeerThatHasMovedIsFound()
    {
        await using TransportNodes nodes = await StartAsync(1, 2);
        await nodes.MoveAsync(2);
        await SendAsync(nodes, 1, 2, [3]);
        Assert.Equal([3], await nodes.NextAsync(at: 2, from: 1));
        await SendAsync(nodes, 2, 1, [4]);
        Assert.Equal([4], await nodes.NextAsync(at: 1, from: 2));
    }

    [Fact]
    public async Task SnapshotsArriveWhole()
    {
        await using TransportNodes nodes = await StartAsync(1, 2);
        const int Chunk = 256 << 10;
        List<SnapshotFile> files = SnapshotFolder.Make(nodes.Files(1), 0, 1, Chunk - 1, 0, Chunk, Chunk + 1, 20 << 20, 0);
        Assert.True(await nodes.SendFilesAsync(1, 2, [5, 6, 7], files));
        SnapshotFolder arrived = nodes.Folder(2);
        Assert.Equal([5, 6, 7], arrived.Head);
        Assert.Equal(files.Select(static file => file.Name), arrived.Files.List(arrived.Directory!).Order(StringComparer.Ordinal));
        Assert.All(files, file => Assert.True(SnapshotFolder.Bytes(nodes.Files(1), file.Path).AsSpan().SequenceEqual(arrived.Read(file.Name)), file.Name));
        // What arrived is durable before anybody is told.
        MemoryFileSystem after = nodes.Files(2).AfterPowerLoss(1);
        Assert.All(files, file => Assert.True(
            SnapshotFolder.Bytes(nodes.Files(1), file.Path).AsSpan().SequenceEqual(SnapshotFolder.Bytes(after, $"{arrived.Directory}/{file.Name}")), file.Name));
    }

    [Fact]
    public async Task ASnapshotOfNothingArrives()
    {
        await using TransportNodes nodes = await StartAsync(1, 2);
        Assert.True(await nodes.SendFilesAsync(1, 2, [], []));
        Assert.Empty(nodes.Folder(2).Files.List(nodes.Folder(2).Directory!));
    }

    [Fact]
    public async Task ASnapshotThatIsNotWantedFails()
    {
        await using TransportNodes nodes = await StartAsync(1, 2);
        nodes.Folder(2).IsWilling = false;
        Assert.False(await nodes.SendFilesAsync(1, 2, [1], SnapshotFolder.Make(nodes.Files(1), 1000)));
    }

    [Fact]
    public async Task ASnapshotThatIsOfNoUseFails()
    {
        await using TransportNodes nodes = await StartAsync(1, 2);
        nodes.Folder(2).IsContent = false;
        Assert.False(await nodes.SendFilesAsync(1, 2, [1], SnapshotFolder.Make(nodes.Files(1), 1000)));
        Assert.True(await nodes.Folder(2).Ended);
    }

    [Fact]
    public async Task ASnapshotForAFullDiskFails()
    {
        await using TransportNodes nodes = await StartAsync(1, 2);
        nodes.Files(2).Capacity = 1 << 20;
        Assert.False(await nodes.SendFilesAsync(1, 2, [1], SnapshotFolder.Make(nodes.Files(1), 2 << 20)));
        Assert.False(await nodes.Folder(2).Ended);
    }

    internal static byte[] Frame(int number)
    {
        byte[] frame = new byte[8 + (number % 61)];
        BinaryPrimitives.WriteInt32LittleEndian(frame, number);
        return frame;
    }

    /// <summary>Sends as a driver does that may wait: until there is room.</summary>
    internal static async Task SendAsync(TransportNodes nodes, ulong from, ulong to, byte[] frame)
    {
        using CancellationTokenSource limit = new(TimeSpan.FromSeconds(30));
        while (!nodes.Transport(from).TrySend(to, frame))
        {
            limit.Token.ThrowIfCancellationRequested();
            await Task.Yield();
        }
    }
}
