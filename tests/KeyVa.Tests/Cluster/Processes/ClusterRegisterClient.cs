using System.Globalization;
using System.Text;
using KeyVa.Client;
using KeyVa.Histories;

namespace KeyVa.Tests.Cluster.Processes;

/// <summary>Registers as keys of a cluster, over gRPC: asks one node, and another one after whatever was no answer.</summary>
internal sealed class ClusterRegisterClient : IRegisterClient, IDisposable
{
    private readonly RemoteStore[] _stores;
    private int _at;

    /// <summary>With a deadline of its own, a write is sent once: how long nobody was served is seen by it. Else it is sent again in its session.</summary>
    public ClusterRegisterClient(NodeProcess[] nodes, int first, TimeSpan? deadline = null)
    {
        _at = first;
        RemoteOptions options = new() { WriteRetries = deadline is null ? 2 : 0, Deadline = deadline ?? TimeSpan.FromSeconds(3), ConnectTimeout = TimeSpan.FromMilliseconds(500), ConnectRetries = 0, ReadRetries = 0, Credentials = NodeProcess.Credentials };
        _stores = [.. nodes.Select(node => RemoteStore.Connect(node.Data, options))];
    }

    /// <summary>How the last change was answered, for whom a test fails.</summary>
    public string Last { get; private set; } = "none";

    private RemoteStore Store => _stores[_at % _stores.Length];

    public async ValueTask<RegisterReply> ReadAsync(int key)
    {
        try
        {
            ReadResult read = await Store.GetAsync(Key(key));
            switch (read.Status)
            {
                case Status.Ok:
                    return new RegisterReply(Outcome.Ok, int.Parse(read.Record.Value.Span, CultureInfo.InvariantCulture));
                case Status.NotFound:
                    return new RegisterReply(Outcome.Ok);
            }
        }
        catch (StoreException)
        {
            // A read that was not answered has changed nothing.
        }

        _at++;
        return RegisterReply.Fail;
    }

    public ValueTask<RegisterReply> WriteAsync(int key, int value) => ChangeAsync(() => Store.UpsertAsync(Key(key), Value(value)));

    public ValueTask<RegisterReply> CompareAndSetAsync(int key, int? expected, int? value)
    {
        Condition condition = expected is { } number ? Condition.IfValue(Value(number)) : Condition.IfAbsent;
        return value is { } put
            ? ChangeAsync(() => Store.UpsertAsync(Key(key), Value(put), new WriteOptions { Condition = condition }))
            : ChangeAsync(() => Store.RemoveAsync(Key(key), condition));
    }

    public ValueTask<RegisterReply> RemoveAsync(int key) => ChangeAsync(() => Store.RemoveAsync(Key(key)));

    /// <summary>Whether a write was acknowledged.</summary>
    public async ValueTask<bool> PutAsync(byte[] key, byte[] value) => (await ChangeAsync(() => Store.UpsertAsync(key, value))).Outcome == Outcome.Ok;

    public void Dispose()
    {
        foreach (RemoteStore store in _stores)
        {
            store.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
    }

    private async ValueTask<RegisterReply> ChangeAsync(Func<ValueTask<WriteResult>> change)
    {
        RegisterReply reply;
        try
        {
            WriteResult result = await change();
            Last = $"{result.Status} {result.Detail} by {Store.Address}";
            reply = result.Status switch
            {
                Status.Ok => new RegisterReply(Outcome.Ok, null, true),
                Status.ConditionFailed or Status.NotFound => new RegisterReply(Outcome.Ok, null, false),
                Status.Failed or Status.Unknown => RegisterReply.Unknown,
                _ => RegisterReply.Fail,
            };
        }
        catch (ServerUnreachableException lost)
        {
            Last = $"{lost.Message} by {Store.Address}";
            reply = lost.NothingSent ? RegisterReply.Fail : RegisterReply.Unknown;
        }
        catch (StoreException failure)
        {
            Last = $"{failure.Message} by {Store.Address}";
            reply = RegisterReply.Unknown;
        }

        _at += reply.Outcome == Outcome.Ok ? 0 : 1;
        return reply;
    }

    private static byte[] Key(int key) => Encoding.ASCII.GetBytes($"register{key}");

    private static byte[] Value(int value) => Encoding.ASCII.GetBytes(value.ToString(CultureInfo.InvariantCulture));
}
