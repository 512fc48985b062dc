using System.Globalization;
using KeyVa.Partitions;

namespace KeyVa.Cluster.Driver;

/// <summary>What callers are told when a replicated write could not be done: what happened, to what, and what to do.</summary>
internal static class ReplicaRefusals
{
    public static WriteResult Unavailable(long partition) => new()
    {
        Status = Status.Unavailable,
        FailedOperation = -1,
        Detail = string.Create(CultureInfo.InvariantCulture, $"no leader of partition {partition} could be reached in time, or it reaches no majority; nothing was done, try again"),
    };

    /// <summary><paramref name="reached"/>: how far it came, as the leader has told; the default value if it has not.</summary>
    public static WriteResult Unknown(long partition, in EarlyReply reached) => new()
    {
        Status = Status.Unknown,
        FailedOperation = -1,
        Receipt = reached.Index == 0 ? default : reached.ToReceipt(partition),
        Detail = string.Create(CultureInfo.InvariantCulture, $"the leader of partition {partition} has the write, and it cannot be told whether it was done or will be; read before you write again"),
    };

    public static WriteResult TooFew(int asked, int present) => new()
    {
        Status = Status.Invalid,
        FailedOperation = -1,
        Detail = AcknowledgementRules.TooFew(asked, present),
    };

    public static WriteResult Malformed(long partition, long leader) => new()
    {
        Status = Status.Failed,
        FailedOperation = -1,
        Detail = string.Create(CultureInfo.InvariantCulture, $"node {leader}, which leads partition {partition}, does not understand the write; it may run an older KeyVa"),
    };
}
