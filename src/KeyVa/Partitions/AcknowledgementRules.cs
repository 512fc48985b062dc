using System.Globalization;

namespace KeyVa.Partitions;

/// <summary>Which writes may be answered when. Stateless.</summary>
internal static class AcknowledgementRules
{
    /// <summary>What a write inside a transaction is told that asks for less than the whole will have.</summary>
    public static WriteResult InTransaction { get; } = new()
    {
        Status = Status.Invalid,
        FailedOperation = -1,
        Detail = "a transaction is acknowledged sync, when it commits: none of its writes asks for less",
    };

    /// <summary>Decides when a command is answered (<see cref="CommandBuilder.Early"/>), if its caller says so; otherwise than Ok if it cannot be as it says. What does not is sync until its partition is known.</summary>
    public static Status Accept(CommandBuilder command, StoreContext context, out string? detail)
    {
        detail = null;
        Acknowledgement asked = command.Acknowledgement;
        if (asked.Class == AcknowledgementClass.Default)
        {
            command.Early = 0;
            return Status.Ok;
        }

        command.Early = asked.Early;
        if (asked.Early == 0)
        {
            return Status.Ok;
        }

        if (command.NeedsOutcome)
        {
            detail = $"acknowledgement {asked} is a receipt and no outcome: a write with a condition, a merge or a check needs sync";
            return Status.Invalid;
        }

        if (context.Replication is null)
        {
            if (asked.Replicas > 0)
            {
                detail = TooFew(asked.Replicas, 0);
                return Status.Invalid;
            }

            // One node: what is on its disk is applied in the same breath.
            command.Early = 0;
        }

        return Status.Ok;
    }

    /// <summary>
    /// As <see cref="IsRefused"/>, of a command for one partition; and decides when it is answered if its caller does not say: as the partition's own setting says, else as the store's. That
    /// is for those that can have it. Writes over several partitions are sync, which is the strictest of whatever their partitions have.
    /// </summary>
    public static bool IsRefusedBy(CommandBuilder command, Partition partition, StoreContext context, out WriteResult refusal)
    {
        if (command.Acknowledgement.Class != AcknowledgementClass.Default)
        {
            return IsRefused(command, partition.Writer, out refusal);
        }

        refusal = default;
        if (context.Replication is not null && !command.NeedsOutcome && !partition.Writer.IsVolatile)
        {
            Acknowledgement own = partition.Engine.Settings.Current.Acknowledgement;
            command.Early = (own.Class == AcknowledgementClass.Default ? context.Options.Acknowledgement : own).Early;
        }

        return false;
    }

    /// <summary>Refuses a command that asks a volatile partition for replicas: in a cluster too it lives on one node.</summary>
    public static bool IsRefused(CommandBuilder command, PartitionWriter partition, out WriteResult refusal)
    {
        Acknowledgement asked = command.Acknowledgement;
        if (asked.Replicas == 0 || !partition.IsVolatile)
        {
            refusal = default;
            return false;
        }

        refusal = new WriteResult
        {
            Status = Status.Invalid,
            FailedOperation = -1,
            Detail = string.Create(
                CultureInfo.InvariantCulture,
                $"acknowledgement {asked} asks for replicas, and partition {partition.PartitionId} is volatile, which is never replicated: ask for less, or write to another partition"),
        };
        return true;
    }

    /// <summary>What is said of a request for more replicas than there are.</summary>
    public static string TooFew(int asked, int present) => present == 0
        ? $"acknowledgement semi-sync={asked} asks for {asked} replicas beside the leader, and there are none: the partition lives on one node"
        : $"acknowledgement semi-sync={asked} asks for {asked} replicas beside the leader, and the partition has {present} that vote";
}
