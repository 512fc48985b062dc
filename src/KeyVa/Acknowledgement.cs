using System.Globalization;

namespace KeyVa;

/// <summary>How much is known of a write when its caller is answered, where partitions are replicated (docs/replication.md, Acknowledgement).</summary>
public enum AcknowledgementClass : byte
{
    /// <summary>What the partition's own settings say (<see cref="PartitionSettings.Acknowledgement"/>), else the store's configuration (<see cref="StoreOptions.Acknowledgement"/>); never in a receipt.</summary>
    Default = 0,

    /// <summary>The partition's leader has it on its own disk. It is lost if another leads next that has not got it.</summary>
    Async = 1,

    /// <summary>The leader and so many other voters have it on their disks. It is lost if none of them leads next.</summary>
    SemiSync = 2,

    /// <summary>It is committed and applied: whoever leads next has it. On a store that lives on one node: what its durability gives.</summary>
    Sync = 3,
}

/// <summary>
/// When a write is to be answered; the default value is <see cref="Default"/>. Below <see cref="Sync"/> the answer is a receipt, not an
/// outcome: whether a removed key was there is not told, and writes with conditions, merges or checks are refused.
/// </summary>
public readonly record struct Acknowledgement
{
    /// <summary>Replicas beside the leader that a request can ask for.</summary>
    public const int MaxReplicas = 63;

    private Acknowledgement(AcknowledgementClass @class, int replicas)
    {
        Class = @class;
        Replicas = (byte)replicas;
    }

    /// <summary>As the partition's own settings say, else the store's configuration.</summary>
    public static Acknowledgement Default => default;

    /// <summary>Once it is on the leader's disk.</summary>
    public static Acknowledgement Async => new(AcknowledgementClass.Async, 0);

    /// <summary>Once it is committed and applied.</summary>
    public static Acknowledgement Sync => new(AcknowledgementClass.Sync, 0);

    /// <summary>The class.</summary>
    public AcknowledgementClass Class { get; }

    /// <summary>Of <see cref="AcknowledgementClass.SemiSync"/>: how many voters beside the leader have it on disk; otherwise 0.</summary>
    public byte Replicas { get; }

    /// <summary>
    /// What the leader is asked to tell before the entry is committed: 0, nothing; else one more than the replicas beside it that are waited for.
    /// </summary>
    internal byte Early => Class is AcknowledgementClass.Async or AcknowledgementClass.SemiSync ? (byte)(1 + Replicas) : (byte)0;

    /// <summary>Once the leader and so many voters beside it, 1 to <see cref="MaxReplicas"/>, have it on disk.</summary>
    public static Acknowledgement SemiSync(int replicas)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(replicas, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(replicas, MaxReplicas);
        return new Acknowledgement(AcknowledgementClass.SemiSync, replicas);
    }

    /// <summary>Reads <c>async</c>, <c>sync</c>, <c>semi-sync</c> (one replica) or <c>semi-sync=K</c>; false for anything else.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out Acknowledgement acknowledgement)
    {
        const string Counted = "semi-sync=";
        acknowledgement = default;
        if (text is "async")
        {
            acknowledgement = Async;
        }
        else if (text is "sync")
        {
            acknowledgement = Sync;
        }
        else if (text is "semi-sync")
        {
            acknowledgement = SemiSync(1);
        }
        else if (text.StartsWith(Counted) && int.TryParse(text[Counted.Length..], NumberStyles.None, CultureInfo.InvariantCulture, out int replicas) && replicas is >= 1 and <= MaxReplicas)
        {
            acknowledgement = SemiSync(replicas);
        }

        return acknowledgement.Class != AcknowledgementClass.Default;
    }

    /// <summary>As <see cref="TryParse"/> reads it; <c>default</c> for the default.</summary>
    public override string ToString() => Class switch
    {
        AcknowledgementClass.Async => "async",
        AcknowledgementClass.SemiSync => string.Create(CultureInfo.InvariantCulture, $"semi-sync={Replicas}"),
        AcknowledgementClass.Sync => "sync",
        _ => "default",
    };
}
