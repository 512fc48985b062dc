using KeyVa.Cluster;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>WAIT: how many replicas have this connection's writes on disk. Stateless.</summary>
internal static class WaitCommand
{
    /// <summary>Longer no client waits; 0 asks for this.</summary>
    private static readonly TimeSpan Longest = TimeSpan.FromMinutes(1);

    public static void Run(RespSession session, RespCommand command)
    {
        if (!RespNumber.TryRead(command[1], out long replicas))
        {
            session.Output.Error(RespErrors.NoInteger);
        }
        else if (!RespNumber.TryRead(command[2], out long timeout))
        {
            session.Output.Error("ERR timeout is not an integer or out of range");
        }
        else if (timeout < 0)
        {
            session.Output.Error("ERR timeout is negative");
        }
        else if (session.Door.Cluster is not { } cluster || session.Receipts is not { } receipts)
        {
            // There are none, and none will come while the client waits.
            session.Output.Integer(0);
        }
        else if (session.Transaction.IsReplying)
        {
            // Inside a transaction nobody waits, as with Redis: what the receipts say.
            session.Output.Integer(receipts.Certain);
        }
        else
        {
            TimeSpan patience = timeout == 0 || timeout > Longest.TotalMilliseconds ? Longest : TimeSpan.FromMilliseconds(timeout);
            session.Start(WaitAsync(session, cluster, receipts, (int)Math.Clamp(replicas, 0, int.MaxValue), patience));
        }
    }

    private static async Task WaitAsync(RespSession session, ClusterNode cluster, WrittenReceipts receipts, int replicas, TimeSpan patience)
    {
        long fewest = long.MaxValue;
        long until = session.Door.Now() + (long)patience.TotalMilliseconds;
        foreach (WriteReceipt receipt in receipts.Of(cluster))
        {
            TimeSpan left = TimeSpan.FromMilliseconds(Math.Max(0, until - session.Door.Now()));
            fewest = Math.Min(fewest, await cluster.CountReplicasAsync(receipt, replicas, left, session.Door.Stopping));
        }

        session.Output.Integer(fewest == long.MaxValue ? 0 : fewest);
    }
}
