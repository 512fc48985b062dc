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

    /// <summary>Decides when a command is answered (<see cref="CommandBuilder.Early"/>); otherwise than Ok if it cannot be as its caller says.</summary>
    public static Status Accept(CommandBuilder command, StoreContext context, out string? detail)
    {
        detail = null;
        Acknowledgement asked = command.Acknowledgement;
        if (asked.Class == AcknowledgementClass.Default)
        {
            // The default is for those that can have it.
            command.Early = command.NeedsOutcome || context.Replication is null ? (byte)0 : context.Options.Acknowledgement.Early;
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

    /// <summary>What is said of a request for more replicas than there are.</summary>
    public static string TooFew(int asked, int present) => present == 0
        ? $"acknowledgement semi-sync={asked} asks for {asked} replicas beside the leader, and there are none: the partition lives on one node"
        : $"acknowledgement semi-sync={asked} asks for {asked} replicas beside the leader, and the partition has {present} that vote";
}
