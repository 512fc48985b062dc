using KeyVa.Bench.Front;
using KeyVa.Server;

namespace KeyVa.Bench.Cluster;

/// <summary>KeyVa as it is served: three nodes of a cluster, or one that is alone; durability always. Nodes may be killed, stopped, started again and added.</summary>
internal sealed class KeyVaNodes : ReplicatedTarget
{
    /// <summary>The role of a child process: its name is its first argument, the flags of <c>keyva serve</c> come after.</summary>
    public const string Role = "serve-node";

    private const int SignalContinue = 18;
    private const int SignalStop = 19;

    private readonly List<Node> _nodes = [];
    private readonly string _folder;
    private readonly string[] _settings;

    private sealed record Node(string[] Flags, int Peer, int Data, int Control)
    {
        public ServerProcess? Process { get; set; }
    }

    /// <summary>How a node sees its only partition.</summary>
    public readonly record struct Progress(long Leader, long Commit, long Applied);

    /// <summary>Starts them, each with these settings on top.</summary>
    public KeyVaNodes(string folder, int count, params string[] settings)
    {
        _folder = folder;
        _settings = settings;
        int[] peers = Ports(count);
        string list = string.Join(',', peers.Select(static (port, i) => $"{i + 1}=127.0.0.1:{port}"));
        for (int i = 0; i < count; i++)
        {
            Add(peers[i], count == 1 ? [] : ["--cluster", "bench", "--node", Text(i + 1), "--peers", list]);
        }
    }

    public override string PutPath => "/keyva.v1.DataPlane/Upsert";

    public override string GetPath => "/keyva.v1.DataPlane/Get";

    /// <summary>Those that run.</summary>
    public IEnumerable<int> Running => Enumerable.Range(0, _nodes.Count).Where(i => _nodes[i].Process is not null);

    /// <summary>In the child: serves with the flags that it was given.</summary>
    public static async Task ServeAsync(string[] arguments)
    {
        Dictionary<string, string> flags = arguments.Chunk(2).ToDictionary(static pair => pair[0], static pair => pair[1]);
        await using KeyVaServer server = await KeyVaServer.StartAsync(ServerConfiguration.Load(flags, null));
        await ServerProcess.ServeUntilInputEndsAsync();
    }

    // UpsertRequest { puts = 1: Put { key = 1, value = 2 } }
    public static byte[] Put(byte[] key, ReadOnlySpan<byte> value) => ProtoBytes.Field(1, [.. ProtoBytes.Field(1, key), .. ProtoBytes.Field(2, value)]);

    public override byte[] PutFrame(byte[] key, byte[] value) => UnaryLoad.Frame(Put(key, value));

    // GetRequest { keys = 1 }: linearizable, unless asked otherwise.
    public override byte[] GetFrame(byte[] key) => UnaryLoad.Frame(ProtoBytes.Field(1, key));

    /// <summary>The data service of one node.</summary>
    public Uri DataOf(int node) => new($"http://127.0.0.1:{_nodes[node].Data}");

    /// <summary>Its folder.</summary>
    public string FolderOf(int node) => Path.Combine(_folder, $"node{node + 1}");

    /// <summary>Processor time that the nodes have used that run.</summary>
    public TimeSpan ProcessorTime => _nodes.Aggregate(TimeSpan.Zero, static (sum, node) => sum + (node.Process?.ProcessorTime ?? TimeSpan.Zero));

    /// <summary>SIGKILL.</summary>
    public void Kill(int node)
    {
        _nodes[node].Process!.Kill();
        _nodes[node].Process!.Dispose();
        _nodes[node].Process = null;
    }

    /// <summary>SIGSTOP.</summary>
    public void Stop(int node) => Native.Signal(_nodes[node].Process!.Id, SignalStop);

    /// <summary>SIGCONT.</summary>
    public void Continue(int node) => Native.Signal(_nodes[node].Process!.Id, SignalContinue);

    /// <summary>Starts one that was killed on its folder and ports; returns when it serves.</summary>
    public void Start(int node) => _nodes[node].Process = ServerProcess.Start(_nodes[node].Flags);

    /// <summary>Starts an empty node that is no member yet; its place in the list.</summary>
    public int StartEmpty()
    {
        int number = _nodes.Count + 1;
        int peer = ServerProcess.FreePort();
        string list = string.Join(',', _nodes.Select(static (node, i) => $"{i + 1}=127.0.0.1:{node.Peer}").Append($"{number}=127.0.0.1:{peer}"));
        Add(peer, ["--cluster", "bench", "--node", Text(number), "--peers", list, "--cluster-join", "true"]);
        return number - 1;
    }

    // AddNodeRequest { node = 1, peer = 2 }; ClusterChangeResponse { refused = 2 }: another node leads by now
    /// <summary>Asks the leader to add a node, and who leads instead if it has changed; ends when it votes.</summary>
    public async Task AddMemberAsync(UnaryLoad calls, int leader, int node)
    {
        while (!await TryAddMemberAsync(calls, leader, node))
        {
            await FindLeaderAsync();
            leader = Running.Single(one => DataOf(one) == Leader);
        }
    }

    // ClusterStatusResponse { replicas = 4: ClusterReplica { leader = 3, commit_index = 6, applied_index = 7 } }
    /// <summary>How a node sees its partition; null if it does not answer yet.</summary>
    public async Task<Progress?> ProgressOfAsync(UnaryLoad calls, int node)
    {
        byte[]? status = await AskAsync(calls, StatusOf(node));
        return status is null ? null : new Progress((long)ProtoBytes.NumberAt(status, 4, 3), (long)ProtoBytes.NumberAt(status, 4, 6), (long)ProtoBytes.NumberAt(status, 4, 7));
    }

    /// <summary>Waits until all that run follow one leader among them and have applied what it has committed; the leader's place.</summary>
    public async Task<int> SettleAsync()
    {
        using UnaryLoad calls = new(clients: 1);
        while (true)
        {
            await FindLeaderAsync();
            int leader = Running.Single(node => DataOf(node) == Leader);
            Progress first = await ProgressOfAsync(calls, leader) ?? default;
            bool isSettled = first.Leader == leader + 1;
            foreach (int node in Running)
            {
                isSettled = isSettled && await ProgressOfAsync(calls, node) is { } one && one.Leader == first.Leader && one.Applied == first.Commit;
            }

            if (isSettled)
            {
                return leader;
            }

            await Task.Delay(TimeSpan.FromMilliseconds(20));
        }
    }

    public override void Dispose() => _nodes.ForEach(static node => node.Process?.Dispose());

    // ClusterStatusResponse { node = 2, replicas = 4: ClusterReplica { leader = 3 } }
    protected override async Task<Uri?> TryFindLeaderAsync(UnaryLoad calls)
    {
        if (_nodes.Count == 1)
        {
            return DataOf(0);
        }

        foreach (int node in Running)
        {
            byte[]? status = await AskAsync(calls, StatusOf(node));
            if (status is not null && ProtoBytes.NumberAt(status, 2) is > 0 and ulong number && ProtoBytes.NumberAt(status, 4, 3) == number)
            {
                return DataOf(node);
            }
        }

        return null;
    }

    private async Task<bool> TryAddMemberAsync(UnaryLoad calls, int leader, int node)
    {
        byte[] peer = System.Text.Encoding.ASCII.GetBytes($"127.0.0.1:{_nodes[node].Peer}");
        (byte[]? answer, string status) = await calls.CallAsync(
            new Uri($"http://127.0.0.1:{_nodes[leader].Control}/keyva.v1.ControlPlane/AddNode"),
            UnaryLoad.Frame([.. ProtoBytes.Field(1, (byte)(node + 1)), .. ProtoBytes.Field(2, peer)]));
        return answer is null ? throw new InvalidOperationException($"adding a node ended with gRPC status {status}") : ProtoBytes.NumberAt(answer, 2) == 0;
    }

    private Uri StatusOf(int node) => new($"http://127.0.0.1:{_nodes[node].Control}/keyva.v1.ControlPlane/ClusterStatus");

    private void Add(int peer, string[] membership)
    {
        int[] ports = Ports(4);
        string folder = FolderOf(_nodes.Count);
        Node node = new(
            [
                Role, "--data", folder, "--log-level", "warning",
                "--rest-listen", $"127.0.0.1:{ports[0]}", "--grpc-listen", $"127.0.0.1:{ports[1]}",
                "--control-listen", $"127.0.0.1:{ports[2]}", "--resp-listen", $"127.0.0.1:{ports[3]}",
                .. _settings, .. membership,
            ],
            peer,
            ports[1],
            ports[2]);
        _nodes.Add(node);
        node.Process = ServerProcess.Start(node.Flags);
    }
}
