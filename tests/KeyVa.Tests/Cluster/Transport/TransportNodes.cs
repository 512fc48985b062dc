using KeyVa.Cluster.Transport;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Cluster.Transport;

/// <summary>Nodes that run one transport, each with a file system in memory; how they are started and found is the transport's.</summary>
internal abstract class TransportNodes : IAsyncDisposable
{
    private readonly Dictionary<ulong, Node> _nodes = [];

    private sealed record Node(ITransport Transport, TransportRecorder Recorder, MemoryFileSystem Files, SnapshotFolder Folder);

    protected IEnumerable<ulong> Numbers => _nodes.Keys;

    public ITransport Transport(ulong node) => _nodes[node].Transport;

    public TransportRecorder Recorder(ulong node) => _nodes[node].Recorder;

    public MemoryFileSystem Files(ulong node) => _nodes[node].Files;

    public SnapshotFolder Folder(ulong node) => _nodes[node].Folder;

    /// <summary>Starts nodes and returns when each can send to each.</summary>
    public async Task StartAsync(ulong[] nodes)
    {
        foreach (ulong node in nodes)
        {
            Add(node);
        }

        foreach (ulong node in nodes)
        {
            SetPeers(node, [.. nodes.Where(other => other != node)]);
        }

        foreach (ulong node in nodes)
        {
            foreach (ulong other in nodes.Where(other => other != node))
            {
                await ConnectedAsync(node, other);
            }
        }
    }

    /// <summary>Says whom a node knows.</summary>
    public void SetPeers(ulong node, params ulong[] peers) => Transport(node).SetPeers(peers.ToDictionary(static peer => peer, AddressOf));

    /// <summary>Ends a node and starts it anew under its address.</summary>
    public virtual async Task RestartAsync(ulong node)
    {
        await Transport(node).DisposeAsync();
        Add(node);
        await ReconnectAsync(node);
    }

    /// <summary>As <see cref="RestartAsync"/>, for a node that will not be let in.</summary>
    public async Task RestartWithoutWaiting(ulong node)
    {
        await Transport(node).DisposeAsync();
        Add(node);
        SetPeers(node, [.. _nodes.Keys.Where(other => other != node)]);
    }

    /// <summary>Ends a node and starts it anew elsewhere; the others are told.</summary>
    public abstract Task MoveAsync(ulong node);

    public async Task<byte[]> NextAsync(ulong at, ulong from)
    {
        (ulong peer, byte[] bytes) = await Recorder(at).NextAsync();
        Assert.Equal(from, peer);
        return bytes;
    }

    public Task<bool> SendFilesAsync(ulong from, ulong to, byte[] head, List<SnapshotFile> files)
    {
        TaskCompletionSource<bool> done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        Transport(from).Snapshots.Send(to, head, files, done.SetResult);
        return done.Task.WaitAsync(TimeSpan.FromSeconds(60));
    }

    public async ValueTask DisposeAsync()
    {
        foreach (Node node in _nodes.Values)
        {
            await node.Transport.DisposeAsync();
        }

        await CloseAsync();
        GC.SuppressFinalize(this);
    }

    protected abstract ITransport Create(ulong node, IFileSystem files);

    protected abstract PeerAddress AddressOf(ulong node);

    /// <summary>Called when a node was started.</summary>
    protected virtual void Started(ulong node, ITransport transport)
    {
    }

    /// <summary>Returns when a node can send to another.</summary>
    protected virtual Task ConnectedAsync(ulong node, ulong other) => Recorder(node).UntilAsync(other, isUp: true);

    protected virtual ValueTask CloseAsync() => default;

    protected async Task ReconnectAsync(ulong node)
    {
        ulong[] others = [.. _nodes.Keys.Where(other => other != node)];
        SetPeers(node, others);
        foreach (ulong other in others)
        {
            await ConnectedAsync(node, other);
        }
    }

    protected void Add(ulong node)
    {
        MemoryFileSystem files = new();
        SnapshotFolder folder = new(files);
        TransportRecorder recorder = new();
        ITransport transport = Create(node, files);
        transport.Snapshots.SetReceiver(folder);
        transport.Start(recorder);
        _nodes[node] = new Node(transport, recorder, files, folder);
        Started(node, transport);
    }
}
