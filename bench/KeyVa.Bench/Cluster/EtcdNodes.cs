using System.ComponentModel;
using System.Diagnostics;

namespace KeyVa.Bench.Cluster;

/// <summary>Three nodes of etcd as Debian ships it, with its defaults: every entry is synced before it is acknowledged.</summary>
internal sealed class EtcdNodes : ReplicatedTarget
{
    private readonly List<Process> _nodes = [];
    private readonly int[] _clients = Ports(3);

    public EtcdNodes(string folder)
    {
        int[] peers = Ports(3);
        string cluster = string.Join(',', Enumerable.Range(0, 3).Select(i => $"n{i}=http://127.0.0.1:{peers[i]}"));
        try
        {
            for (int i = 0; i < 3; i++)
            {
                string client = $"http://127.0.0.1:{_clients[i]}";
                string peer = $"http://127.0.0.1:{peers[i]}";
                _nodes.Add(Start(
                    "--name", $"n{i}", "--data-dir", Path.Combine(folder, $"n{i}"), "--listen-client-urls", client, "--advertise-client-urls", client,
                    "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster,
                    "--initial-cluster-state", "new", "--quota-backend-bytes", "8589934592", "--log-level", "error"));
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public override string PutPath => "/etcdserverpb.KV/Put";

    public override string GetPath => "/etcdserverpb.KV/Range";

    // PutRequest { key = 1, value = 2 }
    public override byte[] PutFrame(byte[] key, byte[] value) => UnaryLoad.Frame([.. ProtoBytes.Field(1, key), .. ProtoBytes.Field(2, value)]);

    // RangeRequest { key = 1 }; serializable = 7 is not set, so it is linearizable.
    public override byte[] GetFrame(byte[] key) => UnaryLoad.Frame(ProtoBytes.Field(1, key));

    public override void Dispose()
    {
        foreach (Process node in _nodes)
        {
            node.Kill();
            node.WaitForExit();
            node.Dispose();
        }

        _nodes.Clear();
    }

    // StatusResponse { header = 1: ResponseHeader { member_id = 2 }, leader = 4 }
    protected override async Task<Uri?> TryFindLeaderAsync(UnaryLoad calls)
    {
        foreach (int port in _clients)
        {
            byte[]? status = await AskAsync(calls, new Uri($"http://127.0.0.1:{port}/etcdserverpb.Maintenance/Status"));
            if (status is not null && ProtoBytes.NumberAt(status, 4) is > 0 and ulong leader && ProtoBytes.NumberAt(status, 1, 2) == leader)
            {
                return new Uri($"http://127.0.0.1:{port}");
            }
        }

        return null;
    }

    private static Process Start(params string[] arguments)
    {
        try
        {
            Process process = Process.Start(new ProcessStartInfo("etcd", arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            _ = process.StandardOutput.ReadToEndAsync();
            _ = process.StandardError.ReadToEndAsync();
            return process;
        }
        catch (Win32Exception e)
        {
            throw new InvalidOperationException("etcd is not installed; run bench/install.sh", e);
        }
    }
}
