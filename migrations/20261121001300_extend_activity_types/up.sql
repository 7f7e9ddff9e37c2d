-- More of what happens on boards has a name.

ALTER TYPE activity_type ADD VALUE IF NOT EXISTS 'board_updated';
ALTER TYPE activity_type ADD VALUE IF NOT EXISTS 'board_restored';
ALTER TYPE activity_type ADD VALUE IF NOT EXISTS 'share_revoked';
ALTER TYPE activity_type ADD VALUE IF NOT EXISTS 'collaborator_invited';
ALTER TYPE activity_type ADD VALUE IF NOT EXISTS 'collaborator_joined';
ALTER TYPE activity_type ADD VALUE IF NOT EXISTS 'collaborator_changed';
ALTER TYPE activity_type ADD VALUE IF NOT EXISTS 'collaborator_removed';
