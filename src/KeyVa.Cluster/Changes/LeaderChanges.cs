using KeyVa.Cluster.Driver;
using KeyVa.Raft;

namespace KeyVa.Cluster.Changes;

/// <summary>
/// What whoever leads a partition does about a change of its members: the next step that is still to be done. Nothing is remembered between two questions, so that a change
/// goes on under another leader, and when it is asked for again. The driver's loop alone; stateless.
/// </summary>
internal static class LeaderChanges
{
    /// <summary>Near enough to vote: what is missing arrives while the change is agreed on.</summary>
    private const long NearEnough = 100;

    public static ChangeAnswer Take(Replica replica, in ChangeRequest request, long now)
    {
        RaftGroup group = replica.Group;
        if (replica.Failure is not null || group.Role != Role.Leader)
        {
            return new ChangeAnswer(ChangeOutcome.NotLeader, replica.Failure is null ? group.Leader : NodeId.None, group.CommitIndex, []);
        }

        ChangeOutcome outcome = request.Kind switch
        {
            ChangeKind.Add => Add(replica, request.Node, now),
            ChangeKind.Remove => Remove(replica, request.Node, now),
            ChangeKind.Transfer => Transfer(group, request.Node, now),
            _ => ChangeOutcome.Done,
        };
        return new ChangeAnswer(outcome, group.Leader, group.CommitIndex, [.. group.Followers.Select(static one => new MemberProgress(one.Node, one.Match)).OrderBy(static one => one.Node)]);
    }

    private static ChangeOutcome Add(Replica replica, long node, long now)
    {
        RaftGroup group = replica.Group;
        Membership present = group.Membership;
        if (present.IsJoint)
        {
            return ChangeOutcome.Pending;
        }

        if (present.IsVoter(node))
        {
            return Committed(replica);
        }

        long[] voters = present.Voters.ToArray();
        long[] learners = present.Learners.ToArray();
        if (!present.Contains(node))
        {
            return learners.Length < Membership.MaxMembers && voters.Length < Membership.MaxMembers
                ? Outcome(group.Change(new Membership(voters, [.. learners, node]), now))
                : ChangeOutcome.TooManyMembers;
        }

        FollowerStatus progress = group.Followers.First(one => one.Node == node);
        return progress.State == ProgressState.Snapshot ? ChangeOutcome.ReceivingSnapshot
            : progress.State != ProgressState.Replicate || progress.Match + NearEnough < group.CommitIndex ? ChangeOutcome.CatchingUp
            : Outcome(group.Change(new Membership([.. voters, node], learners.Except([node])), now));
    }

    private static ChangeOutcome Remove(Replica replica, long node, long now)
    {
        Membership present = replica.Group.Membership;
        if (present.IsJoint)
        {
            return ChangeOutcome.Pending;
        }

        if (!present.Contains(node))
        {
            return Committed(replica);
        }

        long[] voters = [.. present.Voters.ToArray().Except([node])];
        return voters.Length == 0
            ? ChangeOutcome.LastVoter
            : Outcome(replica.Group.Change(new Membership(voters, present.Learners.ToArray().Except([node])), now));
    }

    private static ChangeOutcome Transfer(RaftGroup group, long node, long now) => node == group.Id ? ChangeOutcome.Done : group.Transfer(node, now) switch
    {
        Refusal.NotVoter => ChangeOutcome.NotVoter,
        _ => ChangeOutcome.Pending,
    };

    private static ChangeOutcome Committed(Replica replica) => replica.Group.CommitIndex >= replica.MembershipIndex ? ChangeOutcome.Done : ChangeOutcome.Pending;

    // What was not taken now may be later: a change under way, too much uncommitted, leadership that is handed over.
    private static ChangeOutcome Outcome(Proposed proposed) => proposed.Refusal == Refusal.NotLeader ? ChangeOutcome.NotLeader : ChangeOutcome.Pending;
}
