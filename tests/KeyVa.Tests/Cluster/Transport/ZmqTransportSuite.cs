using KeyVa.Cluster.Transport;
using KeyVa.Tests.Cluster.Processes;
using Xunit;

namespace KeyVa.Tests.Cluster.Transport;

/// <summary>The suite over libzmq, and what only connections can suffer.</summary>
public abstract class ZmqTransportSuite : TransportSuite
{
    protected abstract bool WithKeys { get; }

    internal override async Task<TransportNodes> StartAsync(params ulong[] nodes) => await StartZmqAsync(nodes);

    [Fact]
    public async Task ConnectionsThatComeAndGoAreTold()
    {
        await using ZmqNodes nodes = await StartZmqAsync(1, 2);
        await nodes.Transport(2).DisposeAsync();
        await nodes.Recorder(1).UntilAsync(2, isUp: false);
        Assert.False(nodes.Transport(1).TrySend(2, [1]));
        await nodes.RestartAsync(2);
        await nodes.Recorder(1).UntilAsync(2, isUp: true);
        Assert.True(nodes.Transport(1).TrySend(2, [1]));
    }

    [Fact]
    public async Task WhoIsHeardIsConnectedToWithoutWaitingForThePause()
    {
        // Longer than the test: a refusal in the beginning, before a node knows its peers, and the restart are both waited out by nobody.
        const int pause = 300_000;
        await using ZmqNodes nodes = new(WithKeys) { Options = static options => options with { ReconnectMilliseconds = pause, ReconnectMostMilliseconds = pause } };
        await nodes.StartAsync([1, 2]);
        await nodes.Transport(2).DisposeAsync();
        await nodes.Recorder(1).UntilAsync(2, isUp: false);
        await nodes.RestartAsync(2);
        await nodes.Recorder(1).UntilAsync(2, isUp: true);
        Assert.True(nodes.Transport(1).TrySend(2, [1]));
        Assert.Equal([1], await nodes.NextAsync(at: 2, from: 1));
    }

    [Fact]
    public async Task APeerThatDoesNotReadFillsItsOwnQueueAlone()
    {
        // Who does not read here has its system push back before long, as one that is stopped; libzmq itself would take any number.
        await using ZmqNodes nodes = new(WithKeys) { Options = static options => options with { QueueFrames = 64, QueueBytes = 8 << 20, ReceiveHighWaterMark = 64 } };
        await nodes.StartAsync([1, 2, 3]);
        using ManualResetEventSlim hold = new(false);
        nodes.Recorder(2).Hold = hold;
        byte[] frame = new byte[256 << 10];
        long accepted = 0;
        // Queue, libzmq and the system's buffers take a bounded number between them.
        await UntilAsync(() =>
        {
            while (nodes.Transport(1).TrySend(2, frame))
            {
                accepted++;
            }

            Assert.True(accepted < 2000, "nothing bounds what is sent to who does not read");
            return nodes.Zmq(1).Describe(2)!.Value.QueuedBytes > 7 << 20;
        });
        await SendAsync(nodes, 1, 3, [3]);
        Assert.Equal([3], await nodes.NextAsync(at: 3, from: 1));
        nodes.Recorder(2).Hold = null;
        hold.Set();
        for (long i = 0; i < accepted; i++)
        {
            await nodes.NextAsync(at: 2, from: 1);
        }
    }

    [Fact]
    public async Task AConnectionThatEndsWhileMuchWaitsToBeTakenEndsNoProcess()
    {
        // If libzmq stops reading for what nobody takes, its next heartbeat aborts this very process: see ReceiveHighWaterMark.
        const int frames = 1000;
        const int heartbeat = 50;
        await using ZmqNodes nodes = new(WithKeys) { Options = static options => options with { HeartbeatMilliseconds = heartbeat } };
        await nodes.StartAsync([1, 2]);
        using ManualResetEventSlim hold = new(false);
        nodes.Recorder(2).Hold = hold;
        for (int i = 0; i < frames; i++)
        {
            Assert.True(nodes.Transport(1).TrySend(2, new byte[100]));
        }

        await UntilAsync(() => nodes.Zmq(1).Describe(2)!.Value.QueuedBytes == 0);
        await nodes.Transport(1).DisposeAsync();
        await Pause.ForAsync(TimeSpan.FromMilliseconds(10 * heartbeat));
        nodes.Recorder(2).Hold = null;
        hold.Set();
        await nodes.RestartAsync(1);
        await SendAsync(nodes, 1, 2, [7]);
        byte[] frame;
        do
        {
            frame = await nodes.NextAsync(at: 2, from: 1);
        }
        while (frame.Length != 1);
    }

    [Fact]
    public async Task AFrameThatIsTooLargeIsRefused()
    {
        await using ZmqNodes nodes = new(WithKeys) { Options = static options => options with { MaxFrameBytes = 1000 } };
        await nodes.StartAsync([1, 2]);
        Assert.False(nodes.Transport(1).TrySend(2, new byte[1001]));
        await SendAsync(nodes, 1, 2, new byte[1000]);
        Assert.Equal(1000, (await nodes.NextAsync(at: 2, from: 1)).Length);
    }

    [Fact]
    public async Task AnotherClustersNodeIsRefused()
    {
        await using ZmqNodes nodes = await StartZmqAsync(1, 2);
        await nodes.Transport(2).DisposeAsync();
        nodes.Options = static options => options with { Cluster = Guid.NewGuid() };
        await nodes.RestartWithoutWaiting(2);
        await UntilAsync(() => nodes.Zmq(1).Describe(2)?.Refusal == Refusal.Cluster && nodes.Zmq(2).Describe(1)?.Refusal == Refusal.Cluster);
        Assert.False(nodes.Transport(1).TrySend(2, [1]));
    }

    [Fact]
    public async Task AnAddressThatChangedHandsIsNoticed()
    {
        await using ZmqNodes nodes = await StartZmqAsync(1, 2, 3);
        // Node 1 is told that node 2 is where node 3 is. With keys, the handshake fails before a word is said.
        PeerAddress wrong = nodes.Address(2) with { Port = nodes.Port(3) };
        nodes.Transport(1).SetPeers(new Dictionary<ulong, PeerAddress> { [2] = wrong });
        await UntilAsync(() => nodes.Zmq(1).Describe(2)?.Refusal == (WithKeys ? Refusal.Key : Refusal.Addressee));
        Assert.False(nodes.Transport(1).TrySend(2, [1]));
        Assert.True(nodes.Recorder(3).IsSilent);
    }

    [Fact]
    public async Task ANodeThatIsNotKnownIsRefused()
    {
        // Again and again: while a connection is let go, libzmq may have something to say of it, and who does not hear that stops all others.
        await using ZmqNodes nodes = await StartZmqAsync(1, 2);
        for (int round = 0; round < 20; round++)
        {
            nodes.SetPeers(1);
            await nodes.RestartWithoutWaiting(2);
            await UntilAsync(() => nodes.Zmq(2).Describe(1)?.Refusal is Refusal.Stranger or Refusal.KeyUnknown);
            nodes.SetPeers(1, 2);
            await nodes.Recorder(2).UntilAsync(1, isUp: true);
        }
    }

    [Fact]
    public async Task APeerThatWasLetGoAndTakenAgainIsHeard()
    {
        // Its connection has lasted all the time.
        await using ZmqNodes nodes = await StartZmqAsync(1, 2);
        nodes.SetPeers(1);
        await nodes.Recorder(2).UntilAsync(1, isUp: false);
        nodes.SetPeers(1, 2);
        await nodes.Recorder(2).UntilAsync(1, isUp: true);
        await SendAsync(nodes, 2, 1, [5]);
        Assert.Equal([5], await nodes.NextAsync(at: 1, from: 2));
    }

    [Fact]
    public async Task ARefusalIsHeardByWhoeverSendsMeanwhile()
    {
        // Frames are sent on their callers' threads too, and sending attends to what a descriptor would have told the transport's own.
        await using ZmqNodes nodes = await StartZmqAsync(1, 2);
        nodes.Recorder(1).Forgets = true;
        using CancellationTokenSource stop = new();
        Task sending = Task.Factory.StartNew(
            () =>
            {
                byte[] frame = new byte[64];
                while (!stop.IsCancellationRequested)
                {
                    nodes.Transport(2).TrySend(1, frame);
                }
            },
            TaskCreationOptions.LongRunning);
        for (int round = 0; round < 40; round++)
        {
            nodes.SetPeers(1);
            await nodes.Recorder(2).UntilAsync(1, isUp: false);
            nodes.SetPeers(1, 2);
            await nodes.Recorder(2).UntilAsync(1, isUp: true);
        }

        await stop.CancelAsync();
        await sending;
    }

    [Fact]
    public async Task FramesAfterACutComeInOrder()
    {
        await using ZmqNodes nodes = new(WithKeys);
        TcpRelay relay = nodes.Relay(2);
        await nodes.StartAsync([1, 2]);
        Task reading = Task.Run(async () =>
        {
            for (int last = -1; last < 1_000_000;)
            {
                int next = BitConverter.ToInt32(await nodes.NextAsync(at: 2, from: 1));
                // None is late or doubled.
                Assert.True(next > last, $"{next} after {last}");
                last = next;
            }
        });
        int number = 0;
        for (int round = 0; round < 5; round++)
        {
            relay.CutAfter(20_000);

            // What is lost with a cut does not count towards the next one: more follow until it has come.
            await UntilAsync(() =>
            {
                for (int i = 0; i < 100; i++)
                {
                    nodes.Transport(1).TrySend(2, Frame(number++));
                }

                return relay.Struck > round;
            });
        }

        // Some were lost, the last ones too perhaps: more follow until one has come.
        number = 1_000_000;
        await UntilAsync(() =>
        {
            nodes.Transport(1).TrySend(2, Frame(number++));
            return reading.IsCompleted;
        });
        await reading;
    }

    [Fact]
    public async Task ASnapshotGoesOnAfterACut()
    {
        await using ZmqNodes nodes = new(WithKeys);
        TcpRelay relay = nodes.Relay(2);
        await nodes.StartAsync([1, 2]);
        List<SnapshotFile> files = SnapshotFolder.Make(nodes.Files(1), 12 << 20, 7, 12 << 20);
        relay.CutAfter(10 << 20);
        Assert.True(await nodes.SendFilesAsync(1, 2, [1], files));
        Assert.Equal(1, relay.Struck);
        // It went on where it was: not everything passed twice.
        Assert.InRange(relay.Passed, 24 << 20, 44 << 20);
        Assert.All(files, file => Assert.True(SnapshotFolder.Bytes(nodes.Files(1), file.Path).AsSpan().SequenceEqual(nodes.Folder(2).Read(file.Name)), file.Name));
    }

    [Fact]
    public async Task ASnapshotWithAFlippedBitIsMended()
    {
        await using ZmqNodes nodes = new(WithKeys);
        TcpRelay relay = nodes.Relay(2);
        await nodes.StartAsync([1, 2]);
        List<SnapshotFile> files = SnapshotFolder.Make(nodes.Files(1), 12 << 20, 7, 12 << 20);
        relay.FlipAfter(10 << 20);
        Assert.True(await nodes.SendFilesAsync(1, 2, [1], files));
        Assert.Equal(1, relay.Struck);
        Assert.All(files, file => Assert.True(SnapshotFolder.Bytes(nodes.Files(1), file.Path).AsSpan().SequenceEqual(nodes.Folder(2).Read(file.Name)), file.Name));
    }

    [Fact]
    public async Task FramesPassASnapshotThatIsUnderWay()
    {
        ZmqNodes nodes = new(WithKeys) { Options = static options => options with { Snapshots = new SnapshotStreamOptions { BytesPerSecond = 1 << 20 } } };
        await nodes.StartAsync([1, 2]);
        Task<bool> files = nodes.SendFilesAsync(1, 2, [1], SnapshotFolder.Make(nodes.Files(1), 50 << 20));
        await UntilAsync(() => nodes.Folder(2).Directory is not null);
        for (int i = 0; i < 200; i++)
        {
            await SendAsync(nodes, 1, 2, Frame(i));
            Assert.Equal(Frame(i), await nodes.NextAsync(at: 2, from: 1));
        }

        // At 1 MiB per second the files take longer than that, however slow the machine is; nobody waits for them.
        Assert.False(files.IsCompleted);
        await nodes.DisposeAsync();
        Assert.False(await files);
    }

    [Fact]
    public async Task ASnapshotArrivesAmongFrames()
    {
        await using ZmqNodes nodes = await StartZmqAsync(1, 2);
        Task<bool> files = nodes.SendFilesAsync(1, 2, [1], SnapshotFolder.Make(nodes.Files(1), 8 << 20));
        int sent = 0;
        do
        {
            await SendAsync(nodes, 1, 2, Frame(sent));
            Assert.Equal(Frame(sent++), await nodes.NextAsync(at: 2, from: 1));
        }
        while (!files.IsCompleted);

        Assert.True(await files);
    }

    [Fact]
    public async Task ATransportThatIsClosedLeavesNoStreamWaiting()
    {
        ZmqNodes nodes = new(WithKeys) { Options = static options => options with { Snapshots = new SnapshotStreamOptions { BytesPerSecond = 1 << 20 } } };
        await nodes.StartAsync([1, 2]);
        Task<bool> files = nodes.SendFilesAsync(1, 2, [1], SnapshotFolder.Make(nodes.Files(1), 64 << 20));
        await UntilAsync(() => nodes.Folder(2).Directory is not null);
        await nodes.DisposeAsync();
        Assert.False(await files);
    }

    internal async Task<ZmqNodes> StartZmqAsync(params ulong[] nodes)
    {
        ZmqNodes started = new(WithKeys);
        await started.StartAsync(nodes);
        return started;
    }

    internal static async Task UntilAsync(Func<bool> condition)
    {
        using PeriodicTimer timer = new(TimeSpan.FromMilliseconds(5));
        using CancellationTokenSource limit = new(TimeSpan.FromSeconds(30));
        while (!condition())
        {
            await timer.WaitForNextTickAsync(limit.Token);
        }
    }
}
